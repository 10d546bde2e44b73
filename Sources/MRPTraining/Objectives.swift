import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// The pretraining objectives by name: how options and files describe them. A new one is a file in MRPObjectives and a case here.
enum Objectives {
    /// What is hidden where the options leave it open: the papers' values.
    private static func usualMasks(_ name: String, isConvolutional: Bool) -> (pattern: MaskPattern, ratio: Double) {
        if isConvolutional { return (.random, SparseMaskedModeling.usualMaskRatio) }  // a few coarse cells leave little room for blocks
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
        let isConvolutional = model.encoder is any ConvolutionalEncoder
        let name = options[ObjectiveOptions.objective] ?? (isConvolutional ? SparseMaskedModeling.name : MaskedAutoencoder.name)
        let usual = usualMasks(name, isConvolutional: isConvolutional)
        let masks = MaskChoice(
            options[ObjectiveOptions.maskPattern] ?? usual.pattern,
            ratio: options[ObjectiveOptions.maskRatio] ?? usual.ratio, roundsToNearest: name == SparseMaskedModeling.name)
        let objective = try make(name, model.encoder, masks, options, model)
        try masks.check(model.encoder.geometry)
        return objective
    }

    /// nil: as is usual for the encoder.
    private static func hiddenCells(_ options: Options) -> HiddenCells? { options[ObjectiveOptions.hiddenCells] }

    private static func transformer(_ encoder: any ImageEncoder, _ name: String, because reason: String) throws -> VisionTransformer {
        guard let encoder = encoder as? VisionTransformer else {
            throw MRPError(.unsupported, "objective \(name) needs a vision transformer as encoder: \(reason)")
        }
        return encoder
    }

    private static func make(
        _ name: String, _ encoder: any ImageEncoder, _ masks: MaskChoice, _ options: Options, _ model: Model
    ) throws -> any PretrainingObjective {
        let student = StudentSettings(
            masks, decoderWidth: options[NetworkOptions.decoderWidth],
            decoder: encoder is VisionTransformer && hiddenCells(options) == .skip ? try options.decoder() : nil,
            hiddenCells: hiddenCells(options))
        switch name {
        case SparseMaskedModeling.name: return try sparse(options, masks, model)
        case SimMIM.name:
            // Raw pixels are what SimMIM is; standardised ones have to be asked for.
            let normalizes = options.isSet(ObjectiveOptions.normPixLoss) && options[ObjectiveOptions.normPixLoss]
            return try SimMIM(encoder, student, normalizesTargets: normalizes)
        case MaskFeat.name: return try MaskFeat(encoder, student)
        case BEiT.name:
            return try BEiT(
                encoder, student, tokens: options[ObjectiveOptions.codebookSize], normalizesPatches: options[ObjectiveOptions.normPixLoss])
        case Data2Vec.name:
            return try Data2Vec(
                encoder, student, layers: options[ObjectiveOptions.teacherLayers],
                beta: options[ObjectiveOptions.smoothL1Beta] ?? 2, teacher: teacher(encoder, options, usual: (0.99, 0.9999)))
        case IJEPA.name:
            let encoder = try transformer(
                encoder, name,
                because:
                    "its predictor asks for single patches by their positions, a convolutional network learns a teacher's features by data2vec"
            )
            guard masks.pattern == .multiBlock else {
                throw MRPError(
                    .argument, "objective ijepa predicts blocks: its mask_pattern is multi_block, \(masks.pattern.rawValue) has no blocks")
            }
            return try IJEPA(
                encoder, predictor: options.decoder().transformer, maskRatio: masks.ratio,
                beta: options[ObjectiveOptions.smoothL1Beta] ?? 1, teacher: teacher(encoder, options, usual: (0.996, 1)))
        case TeacherStudent.name:
            return try TeacherStudent(encoder, masks: masks, teacher: teacher(encoder, options, usual: (0.99, 0.9999)))
        case GivenTargets.name:
            guard let width = options[ObjectiveOptions.targetWidth] else {
                throw MRPError(.argument, "objective given needs target_width, the numbers of a target")
            }
            return try GivenTargets(encoder, student, width: width, beta: options[ObjectiveOptions.smoothL1Beta])
        default:
            let decoder = try (model.objective as? MaskedAutoencoder)?.decoder ?? options.decoder()
            return MaskedAutoencoder(
                try transformer(
                    encoder, name, because: "its decoder takes tokens, a convolutional network learns pixels by spark or simmim"),
                decoder: decoder, maskRatio: masks.ratio, normalizesTargets: options[ObjectiveOptions.normPixLoss], pattern: masks.pattern)
        }
    }

    private static func teacher(_ encoder: any ImageEncoder, _ options: Options, usual: (Double, Double)) -> Teacher {
        Teacher(
            encoder,
            decay: Teacher.Decay(
                options[ObjectiveOptions.teacherDecay] ?? usual.0, options[ObjectiveOptions.teacherDecayEnd] ?? usual.1),
            norm: options[ObjectiveOptions.targetNorm])
    }

    private static func sparse(_ options: Options, _ masks: MaskChoice, _ model: Model) throws -> SparseMaskedModeling {
        guard let encoder = model.encoder as? any ConvolutionalEncoder else {
            throw MRPError(.unsupported, "objective spark needs a convolutional network as encoder: a vision transformer takes mae")
        }
        let former = (model.objective as? SparseMaskedModeling)?.decoder
        return try SparseMaskedModeling(
            encoder, decoder: former ?? ConvolutionalDecoder(width: options[NetworkOptions.decoderWidth]), maskRatio: masks.ratio,
            normalizesTargets: options[ObjectiveOptions.normPixLoss], hiddenCells: hiddenCells(options) ?? .skip, pattern: masks.pattern)
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
            let hidden = HiddenCells(rawValue: json["hidden_cells"]?.string ?? "")
        else {
            throw MRPError(.format, "the configuration of objective spark needs decoder_width, mask_ratio, norm_pix_loss, hidden_cells")
        }
        let objective = try SparseMaskedModeling(
            encoder, decoder: ConvolutionalDecoder(width: width), maskRatio: ratio, normalizesTargets: normalizes, hiddenCells: hidden)
        _ = try objective.visibleCount()
        return objective
    }
}
