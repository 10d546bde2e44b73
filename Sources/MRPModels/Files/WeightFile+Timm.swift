import MRPEngine

/// What timm's `config.json` says of a network beyond the shapes of its weights.
extension WeightFile {
    /// Arguments of timm's networks by which the same weights mean another network.
    private static let changing = ["act_layer", "norm_layer", "aa_layer", "stem_type", "avg_down", "output_stride", "replace_stem_pool"]
    /// Arguments that the weights show, or that matter in training only.
    private static let visible = [
        "img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "mlp_ratio", "qkv_bias", "layers", "depths",
        "dims", "use_grn", "ls_init_value", "init_values", "global_pool", "fc_norm", "drop_rate", "drop_path_rate", "dynamic_img_size",
    ]

    /// Refuses a network that is none of these (nil: any), or has another activation or pooling of its classifier (nil: it has none). What is
    /// not understood is noted, and what is assumed where nothing is said.
    func checkTimm(
        named names: [String]?, activation: String, pooling: String?, assumed: String, _ notes: inout [String]
    ) throws {
        guard let name = architecture else {
            if !isChecked { notes.append("assumed, as the file does not say it: \(assumed)") }
            return
        }
        guard names.map({ $0.contains(name) }) ?? !name.contains("quickgelu") else {
            let likeness = names.map { "whose weights look like those of \($0[0])" } ?? "with another activation than \(activation)"
            throw MRPError(.unsupported, "config.json says that this is '\(name)', \(likeness): not offered")
        }
        if let pooling, let found = configured("global_pool")?.string, found != pooling {
            throw MRPError(.unsupported, "config.json says global_pool '\(found)': '\(pooling)' is offered for these weights")
        }
        let arguments = configured("model_args")?.members ?? []
        for (key, value) in arguments where Self.changing.contains(key) && value.string != activation {
            throw MRPError(.unsupported, "config.json says \(key) \(value.text()): not offered")
        }
        let others = arguments.map(\.key).filter { !Self.visible.contains($0) && !Self.changing.contains($0) }
        if !others.isEmpty { notes.append("model_args of config.json that are not looked at: \(others.joined(separator: ", "))") }
    }
}
