import MRPEngine
import MRPModels

extension SparseMaskedModeling {
    public var settings: [(key: String, value: JSON)] {
        [
            ("decoder_width", .integer(decoder.width)), ("mask_ratio", .number(masks.ratio)), ("norm_pix_loss", .bool(normalizesTargets)),
            ("hidden_cells", .string(hiddenCells.rawValue)),
        ]
    }

    /// The names of Tian et al.
    static let names = [
        "mask_tokens.*", "densify_norms.*", "densify_projs.*", "dense_decoder.dec.*.up_sample", "dense_decoder.dec.*.conv.*",
        "dense_decoder.proj",
    ].map { NameRow($0) }

    /// Of https://github.com/keyu-tian/SparK.
    static let checkpoint = WrappedNames(
        "SparK", encoderPrefix: "sparse_encoder.sp_cnn.",
        decoder: ["mask_tokens", "densify_norms", "densify_projs", "dense_decoder", "imn_m", "imn_s", "norm_black"])

    static func read(_ file: ObjectiveFile) throws -> SparseMaskedModeling? {
        guard let json = file.settings, json["name"]?.string == name else { return nil }
        guard let encoder = file.encoder.convolutionalEncoder, let width = json["decoder_width"]?.integer, width >= 1,
            width <= TransformerConfiguration.maximumWidth, let ratio = json["mask_ratio"]?.number,
            let normalizes = json["norm_pix_loss"]?.bool, let hidden = HiddenCells(rawValue: json["hidden_cells"]?.string ?? "")
        else {
            throw MRPError(.format, "the configuration of objective spark needs decoder_width, mask_ratio, norm_pix_loss, hidden_cells")
        }
        let masks = MaskChoice(.random, ratio: ratio, roundsToNearest: true)
        let objective = try SparseMaskedModeling(
            encoder, decoder: ConvolutionalDecoder(width: width), masks: masks, normalizesTargets: normalizes, hiddenCells: hidden)
        _ = try objective.visibleCount()
        return objective
    }
}
