import MRPEngine
import MRPModels

/// How a run trains: everything that the options of section "training" say, for one phase and model.
struct Recipe {
    let optimizer: Optimizer.Settings
    let learningRate: LearningRateSchedule
    /// What weight decay is multiplied by at a step; nil: always 1.
    let weightDecay: LearningRateSchedule?
    /// Batches per step.
    let parts: Int
    let dropPath: DropPath?
    /// What averaged weights keep of themselves; 0: there are none.
    let averageDecay: Double
    let recomputes: Bool
    let steps: Int
    let stepsPerEpoch: Int

    /// `batches` is what the loader gives per epoch; those that do not fill a step are left out.
    init(_ options: Options, _ phase: Phase, _ model: Model, batch: Int, batches: Int) throws {
        parts = options.integer("accumulation_steps", phase)
        stepsPerEpoch = batches / parts
        guard stepsPerEpoch > 0 else {
            throw MRPError(
                .argument, "accumulation_steps \(parts) x batch_size \(batch) is above the images: an epoch has \(batches) batches")
        }
        let epochs = options.number("epochs", phase)
        steps = Int((epochs * Double(stepsPerEpoch)).rounded())
        optimizer = try Self.optimizer(options, phase, model, parts: parts)
        learningRate = Self.learningRate(
            options, phase, method: optimizer.method, images: batch * parts, stepsPerEpoch: stepsPerEpoch)
        weightDecay = Self.weightDecay(options, phase, optimizer.weightDecay, steps: steps)
        let rate = options.number("drop_path", phase)
        let blocks = model.encoder.droppableBlocks
        guard rate == 0 || blocks > 0 else {
            throw MRPError(
                .unsupported, "drop_path \(rate) is offered for vision transformers and ConvNeXt, the encoder is a residual network")
        }
        dropPath = rate > 0 ? DropPath(rate: rate, blocks: blocks) : nil
        averageDecay = options.number("ema_decay", phase)
        recomputes = options.flag("recompute", phase)
    }

    private static func optimizer(_ options: Options, _ phase: Phase, _ model: Model, parts: Int) throws -> Optimizer.Settings {
        let pretraining = phase == .pretrain
        var settings = Optimizer.Settings()
        settings.method = Optimizer.Method(rawValue: options.choice("optimizer", phase)) ?? .adamw
        settings.beta1 = options.number("beta1", phase)
        settings.beta2 = options.optionalNumber("beta2", phase) ?? (pretraining ? 0.95 : 0.999)
        settings.momentum = options.number("momentum", phase)
        settings.nesterov = options.flag("nesterov", phase)
        settings.trust = options.number("trust_coefficient", phase)
        let usualDecay = settings.method == .sgd ? 1e-4 : settings.method == .lars ? 0 : 0.05
        settings.weightDecay = options.optionalNumber("weight_decay", phase) ?? usualDecay
        settings.layerDecay = options.optionalNumber("layer_decay", phase) ?? (!pretraining && model.isPretrained ? 0.75 : 1)
        settings.decaysTokens = pretraining && options.choice("decay_exempt", phase) == "mae"
        settings.trainsHeadOnly = !pretraining && options.flag("frozen_encoder")
        settings.measuresGradients = true
        settings.clipLimit = options.number("clip_gradient", phase)
        settings.parts = parts
        settings.averagesWeights = options.number("ema_decay", phase) > 0
        guard settings.weightDecay > 0 || (options.optionalNumber("weight_decay_end", phase) ?? 0) == 0 else {
            throw MRPError(.argument, "weight_decay_end needs a weight_decay above 0 to begin with")
        }
        return settings
    }

    private static func learningRate(
        _ options: Options, _ phase: Phase, method: Optimizer.Method, images: Int, stepsPerEpoch: Int
    ) -> LearningRateSchedule {
        let epochs = options.number("epochs", phase)
        let frozen = phase == .finetune && options.flag("frozen_encoder")
        let usual = method.usesMomentumOnly ? 0.1 : phase == .pretrain ? 1.5e-3 : frozen ? 2e-2 : 2e-3
        let base = options.optionalNumber("base_learning_rate", phase) ?? usual
        let course: LearningRateSchedule.Course
        switch options.choice("schedule", phase) {
        case "constant": course = .constant
        case "multistep":
            course = .multistep(
                milestones: options.optionalNumbers("milestones", phase) ?? [], factor: options.number("decay_factor", phase))
        default: course = .cosine
        }
        return LearningRateSchedule(
            peak: options.optionalNumber("learning_rate", phase) ?? base * Double(images) / 256,
            minimum: options.number("min_learning_rate", phase),
            warmupEpochs: options.optionalNumber("warmup_epochs", phase) ?? epochs * (phase == .pretrain ? 0.05 : 0.1),
            epochs: epochs, stepsPerEpoch: stepsPerEpoch, course: course)
    }

    /// Half a cosine from 1 to weight_decay_end / weight_decay.
    private static func weightDecay(_ options: Options, _ phase: Phase, _ start: Double, steps: Int) -> LearningRateSchedule? {
        guard let end = options.optionalNumber("weight_decay_end", phase), start > 0 else { return nil }
        return LearningRateSchedule(
            peak: 1, minimum: end / start, warmupEpochs: 0, epochs: Double(max(steps, 1)), stepsPerEpoch: 1)
    }
}
