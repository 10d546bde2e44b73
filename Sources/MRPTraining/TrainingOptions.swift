import MRPObjectives
import MRPOptions

/// Options of a recipe: steps, learning rate, regularisation, optimiser.
enum TrainingOptions {
    private static let positive = OptionType.number(0...)
    private static let fraction = OptionType.number(0..<1)

    // MARK: Steps

    static let epochs = Option(
        "epochs", .number(0...1e6), auto: "20; in fine-tuning as many more as 400 steps take", section: .training,
        "Passes over the data; a fraction is allowed."
    ).perPhase
    static let batchSize = Option(
        "batch_size", .integer(1...(1 << 20)),
        auto: "128; in fine-tuning with fewer than 1024 images the half, the quarter or the eighth of it, so that an epoch has 8 batches",
        section: .training, "Images per step; smaller when the dataset has fewer."
    ).perPhase
    static let optimizer = Option(
        "optimizer", .choice(Optimizer.Method.self), default: .adamw, section: .training,
        "AdamW (Loshchilov & Hutter 2019), SGD with momentum, LARS (You et al. 2017), LAMB (You et al. 2020)."
    ).perPhase

    // MARK: Learning rate

    static let learningRate = Option(
        "learning_rate", positive,
        auto: "base_learning_rate x batch size / 256, or x sqrt(batch size x 128) / 256 where an automatic batch_size is below 128",
        section: .training, "Peak learning rate."
    ).perPhase
    static let baseLearningRate = Option(
        "base_learning_rate", positive,
        auto:
            "1.5e-3 in pretraining, 2e-3 in fine-tuning, 2e-2 with a frozen encoder, 0.1 with sgd and lars (values for small networks and data; He et al. 2021: 1.5e-4 and 5e-4 for ViT-B on ImageNet)",
        section: .training, "Peak learning rate per 256 images."
    ).perPhase
    static let schedule = Option(
        "schedule", .choice(LearningRateSchedule.Name.self), default: .cosine, section: .training,
        "Course of the learning rate after the warm-up, per step."
    ).perPhase
    static let milestones = Option(
        "milestones", .numbers, default: [], section: .training,
        "Epochs at which schedule multistep multiplies the rate by decay_factor."
    ).perPhase
    static let decayFactor = Option(
        "decay_factor", fraction, default: 0.1, section: .training, "What schedule multistep multiplies the rate by."
    ).perPhase
    static let minLearningRate = Option(
        "min_learning_rate", positive, default: 0, section: .training, "Learning rate at the end of the cosine."
    ).perPhase
    static let warmupEpochs = Option(
        "warmup_epochs", positive, auto: "5 % of the epochs in pretraining, 10 % in fine-tuning", section: .training,
        "Epochs of linear warm-up."
    ).perPhase

    // MARK: Regularisation

    static let weightDecay = Option(
        "weight_decay", positive, auto: "0.05 with adamw and lamb (decoupled), 1e-4 with sgd, 0 with lars (added to the gradient)",
        section: .training, "Weight decay, not applied to biases and norms."
    ).perPhase
    static let weightDecayEnd = Option(
        "weight_decay_end", positive, auto: "weight_decay all along", section: .training,
        "Weight decay at the end of a cosine course per step."
    ).perPhase
    static let clipGradient = Option(
        "clip_gradient", positive, default: 0, section: .training,
        "The gradients of a step are scaled so that their common norm is at most this; 0: not clipped."
    ).perPhase
    static let accumulationSteps = Option(
        "accumulation_steps", .integer(1...65_536), default: 1, section: .training,
        "Batches whose gradients are averaged for one step: a step then sees batch_size x accumulation_steps images. Running statistics of batch norms follow its last batch."
    ).perPhase
    static let decayExempt = Option(
        "decay_exempt", .choice(DecayExempt.self), default: .mae, section: .training,
        "What has no weight decay beside biases and norms: mae as facebookresearch/mae (class token and learned positions in fine-tuning), mmpretrain also tokens and positions in pretraining."
    ).perPhase
    static let dropPath = Option(
        "drop_path", fraction, default: 0, section: .training,
        "Stochastic depth: the last block's branches are left out for this share of the images, those of lower blocks for less (Huang et al. 2016)."
    ).perPhase
    static let emaDecay = Option(
        "ema_decay", fraction, default: 0, section: .training,
        "What exponential moving averages of the weights keep of themselves per step; the run ends with the averages. 0: none."
    ).perPhase
    static let recompute = Option(
        "recompute", .flag, default: false, section: .training,
        "Keep only what enters each block for the gradients and compute the rest again: less memory, more time, the same numbers."
    ).perPhase

    // MARK: The optimiser's own

    static let beta1 = Option(
        "beta1", fraction, default: 0.9, section: .training, "Decay of the first moment in adamw and lamb."
    ).perPhase
    static let beta2 = Option(
        "beta2", fraction, auto: "0.95 in pretraining, 0.999 in fine-tuning", section: .training,
        "Decay of the second moment in adamw and lamb."
    ).perPhase
    static let momentum = Option("momentum", fraction, default: 0.9, section: .training, "Momentum of sgd and lars.").perPhase
    static let nesterov = Option("nesterov", .flag, default: false, section: .training, "Nesterov's momentum in sgd.").perPhase
    static let trustCoefficient = Option(
        "trust_coefficient", positive, default: 0.001, section: .training,
        "Of lars: the share of a weight's norm that a step may change."
    ).perPhase

    // MARK: Layers

    static let layerDecay = Option(
        "layer_decay", .number(1e-3...1), auto: "0.75 when fine-tuning a pretrained encoder, else 1", section: .training,
        "Learning rate factor from each layer to the one below it."
    ).perPhase
    static let all: [any OptionDeclaration] = [
        epochs, batchSize, optimizer, learningRate, baseLearningRate, schedule, milestones, decayFactor, minLearningRate, warmupEpochs,
        weightDecay, weightDecayEnd, clipGradient, accumulationSteps, decayExempt, dropPath, emaDecay, recompute, beta1, beta2, momentum,
        nesterov, trustCoefficient, layerDecay, Classification.frozenEncoder, Classification.viewCount,
    ]
}

/// The rule for what has no weight decay.
enum DecayExempt: String, CaseIterable {
    case mae, mmpretrain
}

extension LearningRateSchedule {
    /// The courses by name.
    enum Name: String, CaseIterable {
        case cosine, constant, multistep
    }
}
