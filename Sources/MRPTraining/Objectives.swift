import MRPEngine
import MRPModels
import MRPObjectives

/// The pretraining objectives by name: how options and files describe them. A new one is a file in MRPObjectives and a case here.
enum Objectives {
    static let names = [MaskedAutoencoder.name]

    /// The objective that the options describe for the model's encoder. A decoder that the model already has goes on.
    static func make(_ options: Options, _ model: Model) throws -> any PretrainingObjective {
        guard let encoder = model.encoder as? VisionTransformer else {
            throw MRPError(.unsupported, "mask reconstruction needs a vision transformer as encoder")
        }
        let decoder = try (model.objective as? MaskedAutoencoder)?.decoder ?? options.decoder()
        let objective = MaskedAutoencoder(
            encoder, decoder: decoder, maskRatio: options.optionalNumber("mask_ratio") ?? MaskedAutoencoder.usualMaskRatio,
            normalizesTargets: options.flag("norm_pix_loss"))
        _ = try objective.visibleCount()
        return objective
    }
}
