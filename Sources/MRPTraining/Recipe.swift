import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// Settings of a run: everything that the options of section "training" say, for one phase and model.
struct Recipe {
    let optimizer: Optimizer.Settings
    let learningRate: LearningRateSchedule
    /// Factor of the weight decay at a step; nil: always 1.
    let weightDecay: LearningRateSchedule?
    /// Batches per step.
    let accumulationSteps: Int
    let dropPath: DropPath?
    /// EMA decay of the averaged weights; 0: there are none.
    let emaDecay: Double
    let steps: Int
    let stepsPerEpoch: Int

    /// `batches` is what the loader gives per epoch; those that do not fill a step are left out.
    init(_ options: Options, _ phase: Phase, _ model: Model, batch: Int, batches: Int) throws {
        accumulationSteps = options[TrainingOptions.accumulationSteps, phase]
        stepsPerEpoch = batches / accumulationSteps
        guard stepsPerEpoch > 0 else {
            throw MRPError(
                .argument,
                "accumulation_steps \(accumulationSteps) x batch_size \(batch) is above the images: an epoch has \(batches) batches")
        }
        let epochs = RunLength.epochs(options, phase, stepsPerEpoch: stepsPerEpoch)
        steps = Int((epochs * Double(stepsPerEpoch)).rounded())
        optimizer = try Self.optimizer(options, phase, model)
        learningRate = Self.learningRate(
            options, phase, method: optimizer.method,
            images: RunLength.rateImages(options, phase, batch: batch) * Double(accumulationSteps), epochs: epochs,
            stepsPerEpoch: stepsPerEpoch)
        weightDecay = Self.weightDecay(options, phase, optimizer.weightDecay, steps: steps)
        let rate = options[TrainingOptions.dropPath, phase]
        let blocks = model.encoder.droppableBlocks
        guard rate == 0 || blocks > 0 else {
            throw MRPError(
                .unsupported, "drop_path \(rate) is not offered for a \(model.encoder.family.name): none of its blocks can be left out")
        }
        dropPath = rate > 0 ? DropPath(rate: rate, blocks: blocks) : nil
        emaDecay = options[TrainingOptions.emaDecay, phase]
    }

    private static func optimizer(_ options: Options, _ phase: Phase, _ model: Model) throws -> Optimizer.Settings {
        let pretraining = phase == .pretrain
        var settings = Optimizer.Settings()
        settings.method = options[TrainingOptions.optimizer, phase]
        settings.beta1 = options[TrainingOptions.beta1, phase]
        settings.beta2 = options[TrainingOptions.beta2, phase] ?? (pretraining ? 0.95 : 0.999)
        settings.momentum = options[TrainingOptions.momentum, phase]
        settings.nesterov = options[TrainingOptions.nesterov, phase]
        settings.trust = options[TrainingOptions.trustCoefficient, phase]
        let usualDecay = settings.method == .sgd ? 1e-4 : settings.method == .lars ? 0 : 0.05
        settings.weightDecay = options[TrainingOptions.weightDecay, phase] ?? usualDecay
        settings.layerDecay = options[TrainingOptions.layerDecay, phase] ?? (!pretraining && model.isPretrained ? 0.75 : 1)
        settings.decaysTokens = pretraining && options[TrainingOptions.decayExempt, phase] == .mae
        settings.measuresGradients = true
        settings.clipLimit = options[TrainingOptions.clipGradient, phase]
        settings.accumulationSteps = options[TrainingOptions.accumulationSteps, phase]
        settings.recomputes = options[TrainingOptions.recompute, phase]
        settings.averagesWeights = options[TrainingOptions.emaDecay, phase] > 0
        guard settings.weightDecay > 0 || (options[TrainingOptions.weightDecayEnd, phase] ?? 0) == 0 else {
            throw MRPError(.argument, "weight_decay_end needs a weight_decay above 0 to begin with")
        }
        return settings
    }

    private static func learningRate(
        _ options: Options, _ phase: Phase, method: Optimizer.Method, images: Double, epochs: Double, stepsPerEpoch: Int
    ) -> LearningRateSchedule {
        let frozen = phase == .finetune && options[Classification.frozenEncoder]
        let usual = method.usesMomentumOnly ? 0.1 : phase == .pretrain ? 1.5e-3 : frozen ? 2e-2 : 2e-3
        let base = options[TrainingOptions.baseLearningRate, phase] ?? usual
        let course: LearningRateSchedule.Course
        switch options[TrainingOptions.schedule, phase] {
        case .constant: course = .constant
        case .multistep:
            course = .multistep(
                milestones: options[TrainingOptions.milestones, phase], factor: options[TrainingOptions.decayFactor, phase])
        case .cosine: course = .cosine
        }
        return LearningRateSchedule(
            peak: options[TrainingOptions.learningRate, phase] ?? base * images / 256,
            minimum: options[TrainingOptions.minLearningRate, phase],
            warmupEpochs: options[TrainingOptions.warmupEpochs, phase] ?? epochs * (phase == .pretrain ? 0.05 : 0.1),
            epochs: epochs, stepsPerEpoch: stepsPerEpoch, course: course)
    }

    /// Half a cosine from 1 to weight_decay_end / weight_decay.
    private static func weightDecay(_ options: Options, _ phase: Phase, _ start: Double, steps: Int) -> LearningRateSchedule? {
        guard let end = options[TrainingOptions.weightDecayEnd, phase], start > 0 else { return nil }
        return LearningRateSchedule(
            peak: 1, minimum: end / start, warmupEpochs: 0, epochs: Double(max(steps, 1)), stepsPerEpoch: 1)
    }
}
