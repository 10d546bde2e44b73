import MRPEngine
import MRPModels
import MRPObjectives

/// The pretraining objectives by name: how options and files describe them. A new one is a file in MRPObjectives and a case here.
enum Objectives {
    static let names = [
        MaskedAutoencoder.name, SparseMaskedModeling.name, SimMIM.name, MaskFeat.name, BEiT.name, Data2Vec.name, IJEPA.name,
        TeacherStudent.name, GivenTargets.name,
    ]

    /// What is hidden where the options leave it open: the papers' values.
    private static func usualMasks(_ name: String) -> (pattern: MaskPattern, ratio: Double) {
        switch name {
        case SimMIM.name, GivenTargets.name: return (.random, 0.6)
        case MaskFeat.name, BEiT.name: return (.block, 0.4)
        case Data2Vec.name: return (.block, 0.6)
        case IJEPA.name: return (.multiBlock, 0.75)
        case TeacherStudent.name: return (.random, 0.5)
        default: return (.random, MaskedAutoencoder.usualMaskRatio)
        }
    }

    /// The objective that the options describe for the model's encoder. A decoder that the model already has goes on.
    static func make(_ options: Options, _ model: Model) throws -> any PretrainingObjective {
        let wish = options.choice("objective")
        let isConvolutional = model.encoder is any ConvolutionalEncoder
        let name = wish == "auto" ? isConvolutional ? SparseMaskedModeling.name : MaskedAutoencoder.name : wish
        if name == SparseMaskedModeling.name { return try sparse(options, model) }
        guard let encoder = model.encoder as? VisionTransformer else {
            throw MRPError(
                .unsupported,
                "objective \(name) needs a vision transformer as encoder, whose tokens can be left out or replaced: a convolutional network takes spark"
            )
        }
        let usual = usualMasks(name)
        let masks = MaskChoice(
            MaskPattern(rawValue: options.choice("mask_pattern")) ?? usual.pattern,
            ratio: options.optionalNumber("mask_ratio") ?? usual.ratio)
        _ = try masks.visibleCount(encoder.geometry)
        if masks.pattern == .multiBlock {
            _ = try TargetBlocks(gridHeight: encoder.geometry.gridHeight, gridWidth: encoder.geometry.gridWidth)
        }
        return try make(name, encoder, masks, options, model)
    }

    private static func make(
        _ name: String, _ encoder: VisionTransformer, _ masks: MaskChoice, _ options: Options, _ model: Model
    ) throws -> any PretrainingObjective {
        switch name {
        case SimMIM.name:
            // Raw pixels are what SimMIM is; standardised ones have to be asked for.
            let normalizes = options.isSet("norm_pix_loss") && options.flag("norm_pix_loss")
            return SimMIM(encoder, masks: masks, normalizesTargets: normalizes)
        case MaskFeat.name: return MaskFeat(encoder, masks: masks)
        case BEiT.name:
            return BEiT(
                encoder, masks: masks, tokens: options.integer("codebook_size"), normalizesPatches: options.flag("norm_pix_loss"))
        case Data2Vec.name:
            return try Data2Vec(
                encoder, masks: masks, layers: options.optionalInteger("teacher_layers") ?? max(encoder.transformer.depth / 2, 1),
                beta: options.optionalNumber("smooth_l1_beta") ?? 2, decay: decay(options, usual: (0.99, 0.9999)))
        case IJEPA.name:
            guard masks.pattern == .multiBlock else {
                throw MRPError(
                    .argument, "objective ijepa predicts blocks: its mask_pattern is multi_block, \(masks.pattern.rawValue) has no blocks")
            }
            return try IJEPA(
                encoder, predictor: options.decoder().transformer, maskRatio: masks.ratio,
                beta: options.optionalNumber("smooth_l1_beta") ?? 1, decay: decay(options, usual: (0.996, 1)))
        case TeacherStudent.name: return TeacherStudent(encoder, masks: masks, decay: decay(options, usual: (0.99, 0.9999)))
        case GivenTargets.name:
            guard let width = options.optionalInteger("target_width") else {
                throw MRPError(.argument, "objective given needs target_width, the numbers of a target")
            }
            return GivenTargets(encoder, masks: masks, width: width, beta: options.optionalNumber("smooth_l1_beta"))
        default:
            let decoder = try (model.objective as? MaskedAutoencoder)?.decoder ?? options.decoder()
            return MaskedAutoencoder(
                encoder, decoder: decoder, maskRatio: masks.ratio, normalizesTargets: options.flag("norm_pix_loss"), pattern: masks.pattern)
        }
    }

    private static func decay(_ options: Options, usual: (Double, Double)) -> Teacher.Decay {
        Teacher.Decay(options.optionalNumber("teacher_decay") ?? usual.0, options.optionalNumber("teacher_decay_end") ?? usual.1)
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

    /// Whether a model file keeps the objective's weights. Mask tokens, heads, predictors and teachers are of no use without the run that made
    /// them: they are made anew when pretraining begins again.
    static func isKept(_ objective: any PretrainingObjective) -> Bool {
        objective is MaskedAutoencoder || objective is SparseMaskedModeling
    }

    /// What a file says of an objective; nil for a masked autoencoder, of which transformers' own keys say all.
    static func json(_ objective: any PretrainingObjective) -> JSON? {
        objective is MaskedAutoencoder || !isKept(objective) ? nil : .object([("name", .string(objective.name))] + objective.settings)
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
