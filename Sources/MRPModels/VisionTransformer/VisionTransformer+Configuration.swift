import MRPEngine

/// Its configuration is that of transformers' `ViTConfig` and `ViTMAEConfig`.
extension VisionTransformer {
    public func configuration(head: (any Head)?, objective: (any PretrainingObjective)?) -> [(key: String, value: JSON)] {
        // transformers describes the objective of masked autoencoders in the same keys, that of no other.
        let described = objective?.configuration ?? []
        let isPlain = head != nil || positions == .learned && described.isEmpty
        // No other library has these experts: under a name of their own nobody takes the rest for a whole network.
        let type = mixture == nil ? isPlain ? "vit" : "vit_mae" : Self.mixtureType
        var members: [(key: String, value: JSON)] = [("model_type", .string(type))]
        if let architectures = described.first(where: { $0.key == "architectures" }) {
            members.append(architectures)
        } else if head?.featurePooling == .cls {
            // The only pooling of transformers' classifier.
            members.append(("architectures", .array([.string("ViTForImageClassification")])))
        }
        return members + [
            ("hidden_size", .integer(transformer.width)), ("num_hidden_layers", .integer(transformer.depth)),
            ("num_attention_heads", .integer(transformer.heads)), ("intermediate_size", .integer(transformer.hidden)),
            ("hidden_act", .string("gelu")), ("layer_norm_eps", .number(epsilon)),
            ("image_size", Self.pair(geometry.height, geometry.width)),
            ("patch_size", Self.pair(geometry.patchHeight, geometry.patchWidth)), ("num_channels", .integer(geometry.channels)),
            ("qkv_bias", .bool(true)),
            // Of an objective that is not described: He et al. 2021.
            ("mask_ratio", .number(0.75)), ("norm_pix_loss", .bool(true)),
        ]
    }

    static let mixtureType = "vit_moe"

    public var settings: [(key: String, value: JSON)] {
        [("positions", .string(positions.rawValue))] + (mixture.map { [("experts", $0.json)] } ?? [])
    }

    private static func pair(_ height: Int, _ width: Int) -> JSON {
        height == width ? .integer(height) : .array([.integer(height), .integer(width)])
    }

    static func read(_ file: EncoderFile) throws -> VisionTransformer {
        let json = file.configuration
        if let activation = json["hidden_act"]?.string, activation != "gelu" {
            throw MRPError(.unsupported, "hidden_act '\(activation)' is not offered: gelu is")
        }
        let (image, patch) = (try json.size(of: "image_size"), try json.size(of: "patch_size"))
        let geometry = try PatchGeometry(
            channels: json.integer(of: "num_channels"), height: image.height, width: image.width, patchHeight: patch.height,
            patchWidth: patch.width)
        let transformer = try TransformerConfiguration(
            width: json.integer(of: "hidden_size"), depth: json.integer(of: "num_hidden_layers"),
            heads: json.integer(of: "num_attention_heads"), hidden: json.integer(of: "intermediate_size"))
        // A hand-written file may lack this one: then transformers' default holds.
        let epsilon = json["layer_norm_eps"]?.number ?? 1e-12
        guard epsilon >= 0, epsilon < 1 else { throw MRPError(.format, "layer_norm_eps \(epsilon) of the configuration is outside [0, 1)") }
        let known = file.settings["positions"]?.string.flatMap(Positions.init)
        return VisionTransformer(
            geometry: geometry, transformer: transformer, epsilon: epsilon,
            positions: try known ?? file.weights.flatMap { try positions(in: $0, geometry) } ?? .sinCos,
            mixture: try file.settings["experts"].map { try Mixture($0, depth: transformer.depth) })
    }
}
