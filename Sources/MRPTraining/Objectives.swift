import MRPEngine
import MRPModels
import MRPObjectives

/// The pretraining objectives by name: how options and files describe them. A new one is a file in MRPObjectives and a case here.
enum Objectives {
    static let names = [MaskedAutoencoder.name, SparseMaskedModeling.name]

    /// The objective that the options describe for the model's encoder. A decoder that the model already has goes on.
    static func make(_ options: Options, _ model: Model) throws -> any PretrainingObjective {
        let wish = options.choice("objective")
        let isConvolutional = model.encoder is any ConvolutionalEncoder
        switch wish == "auto" ? isConvolutional ? SparseMaskedModeling.name : MaskedAutoencoder.name : wish {
        case SparseMaskedModeling.name: return try sparse(options, model)
        default: return try masked(options, model)
        }
    }

    private static func masked(_ options: Options, _ model: Model) throws -> MaskedAutoencoder {
        guard let encoder = model.encoder as? VisionTransformer else {
            throw MRPError(.unsupported, "objective mae needs a vision transformer as encoder: a convolutional network takes spark")
        }
        let decoder = try (model.objective as? MaskedAutoencoder)?.decoder ?? options.decoder()
        let objective = MaskedAutoencoder(
            encoder, decoder: decoder, maskRatio: options.optionalNumber("mask_ratio") ?? MaskedAutoencoder.usualMaskRatio,
            normalizesTargets: options.flag("norm_pix_loss"))
        _ = try objective.visibleCount()
        return objective
    }

    private static func sparse(_ options: Options, _ model: Model) throws -> SparseMaskedModeling {
        guard let encoder = model.encoder as? any ConvolutionalEncoder else {
            throw MRPError(.unsupported, "objective spark needs a convolutional network as encoder: a vision transformer takes mae")
        }
        let former = (model.objective as? SparseMaskedModeling)?.decoder
        let objective = try SparseMaskedModeling(
            encoder, decoder: former ?? ConvolutionalDecoder(width: options.integer("decoder_width")),
            maskRatio: options.optionalNumber("mask_ratio") ?? SparseMaskedModeling.usualMaskRatio,
            normalizesTargets: options.flag("norm_pix_loss"),
            hiddenCells: SparseMaskedModeling.HiddenCells(rawValue: options.choice("hidden_cells")) ?? .skip)
        _ = try objective.visibleCount()
        return objective
    }

    // MARK: Files

    /// What a file says of an objective; nil for a masked autoencoder, of which transformers' own keys say all.
    static func json(_ objective: any PretrainingObjective) -> JSON? {
        objective is MaskedAutoencoder ? nil : .object([("name", .string(objective.name))] + objective.settings)
    }

    /// The objective that a file describes.
    static func read(_ json: JSON, _ encoder: any ImageEncoder) throws -> any PretrainingObjective {
        let name = json["name"]?.string ?? ""
        guard name == SparseMaskedModeling.name else {
            throw MRPError(.format, "the configuration has objective '\(name)', which this library does not know")
        }
        guard let encoder = encoder as? any ConvolutionalEncoder, let width = json["decoder_width"]?.integer, width >= 1,
            width <= TransformerLimits.width, let ratio = json["mask_ratio"]?.number, let normalizes = json["norm_pix_loss"]?.bool,
            let hidden = SparseMaskedModeling.HiddenCells(rawValue: json["hidden_cells"]?.string ?? "")
        else {
            throw MRPError(.format, "the configuration of objective spark needs decoder_width, mask_ratio, norm_pix_loss, hidden_cells")
        }
        let objective = try SparseMaskedModeling(
            encoder, decoder: ConvolutionalDecoder(width: width), maskRatio: ratio, normalizesTargets: normalizes, hiddenCells: hidden)
        _ = try objective.visibleCount()
        return objective
    }
}
