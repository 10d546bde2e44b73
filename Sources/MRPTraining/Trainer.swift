import MRPData
import MRPEngine
import MRPModels
import MRPObjectives

/// One training run, step by step: pretraining by mask reconstruction, or classification (fine-tuning, or from scratch).
///
/// Graph, memory plan, optimiser and loader are made once; a step takes a batch, runs the compiled graph and updates the weights.
/// A step that is cancelled or fails changes nothing: the model keeps its last finished step.
public final class Trainer {
    public enum Outcome { case stepped, finished, cancelled }

    public let model: Model
    public let phase: Phase
    public private(set) var progress: TrainingProgress
    /// Images per step.
    public let batch: Int
    /// Bytes that training needs: weights, moments, values of a step, scratch memory.
    public let plannedBytes: Int

    /// What the run is going to do, in one line.
    public var summary: String {
        "\(phase.rawValue): \(progress.steps) steps of \(batch) images, \(plannedBytes >> 20) MiB, \(options.threads) threads"
    }

    /// The caller's masks in pretraining; nil: the objective's own.
    public var masking: Masking?

    private let options: Options
    private let executor: Executor
    private let optimizer: Optimizer
    private let loader: BatchLoader
    private let schedule: LearningRateSchedule
    /// What weight decay is multiplied by at a step; nil: always 1.
    private let decaySchedule: LearningRateSchedule?
    private let clipLimit: Double
    private let loss: Value
    /// What pretraining learns by; nil in fine-tuning.
    private let objective: (any PretrainingObjective)?
    private var epochLosses = (sum: 0.0, count: 0)

    public init(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase, cancel: UnsafePointer<Int32>? = nil,
        poll: (() -> Void)? = nil
    ) throws {
        try Pipeline.check(dataset, fits: model)
        self.model = model
        self.phase = phase
        self.options = options
        batch = min(options.integer("batch_size", phase), dataset.count)
        try Self.prepare(model, dataset, options, phase)
        try Pipeline.establishNormalization(model, dataset, options, cancel: cancel, poll: poll)
        loader = try Pipeline.trainingLoader(dataset, model, options, phase, batch: batch)

        let graph = Graph()
        // A frozen encoder keeps its running statistics too.
        let builder = model.builder(graph, training: !(phase == .finetune && options.flag("frozen_encoder")))
        switch phase {
        case .pretrain:
            guard let objective = model.objective else { throw MRPError(.internalError, "pretraining without an objective") }
            self.objective = objective
            loss = try objective.loss(builder, batch: batch)
        case .finetune:
            objective = nil
            loss = try Classification(model, smoothing: options.number("label_smoothing")).loss(builder, batch: batch).loss
        }
        let settings = try Self.settings(options, phase, model)
        clipLimit = options.number("clip_gradient", phase)
        optimizer = try Optimizer(graph, loss: loss, model: model, settings: settings)
        try optimizer.follow(objective?.averages ?? [], graph)
        let bound = model.parameters.tensors.merging(optimizer.moments) { first, _ in first }
        executor = try Executor(graph, outputs: [loss] + optimizer.norms.map(\.value), bound: bound, compute: options.compute())
        plannedBytes = executor.bytes + model.parameters.bytes + optimizer.bytes

        let epochs = options.number("epochs", phase)
        let steps = Int((epochs * Double(loader.stepsPerEpoch)).rounded())
        schedule = Self.schedule(options, phase, method: settings.method, batch: batch, stepsPerEpoch: loader.stepsPerEpoch)
        decaySchedule = Self.decaySchedule(options, phase, settings, steps: steps)
        progress = TrainingProgress(phase: phase.rawValue, steps: max(steps, 0))
    }

    /// The objective or the head that the phase needs.
    private static func prepare(_ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase) throws {
        switch phase {
        case .pretrain:
            try model.attach(Objectives.make(options, model), seed: options.seed)
        case .finetune:
            guard dataset.labels != nil else { throw MRPError(.argument, "fine-tuning needs labels, the dataset has none") }
            let head = try options.head(classes: max(dataset.classCount, 2))
            guard dataset.classCount <= head.classes else {
                throw MRPError(.argument, "the dataset has \(dataset.classCount) classes, option classes is \(head.classes)")
            }
            if model.head != head { try model.attach(head, seed: options.seed) }
            model.classNames = dataset.classNames
            // A decoder belongs to the encoder as it was; fine-tuning changes the encoder.
            model.detachObjective()
        }
    }

    private static func settings(_ options: Options, _ phase: Phase, _ model: Model) throws -> Optimizer.Settings {
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
        settings.decaysTokens = pretraining
        settings.trainsHeadOnly = !pretraining && options.flag("frozen_encoder")
        settings.measuresGradients = options.number("clip_gradient", phase) > 0
        guard settings.weightDecay > 0 || (options.optionalNumber("weight_decay_end", phase) ?? 0) == 0 else {
            throw MRPError(.argument, "weight_decay_end needs a weight_decay above 0 to begin with")
        }
        return settings
    }

    private static func schedule(
        _ options: Options, _ phase: Phase, method: Optimizer.Method, batch: Int, stepsPerEpoch: Int
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
            peak: options.optionalNumber("learning_rate", phase) ?? base * Double(batch) / 256,
            minimum: options.number("min_learning_rate", phase),
            warmupEpochs: options.optionalNumber("warmup_epochs", phase) ?? epochs * (phase == .pretrain ? 0.05 : 0.1),
            epochs: epochs, stepsPerEpoch: stepsPerEpoch, course: course)
    }

    /// Half a cosine from 1 to weight_decay_end / weight_decay; nil where the decay stays as it is.
    private static func decaySchedule(
        _ options: Options, _ phase: Phase, _ settings: Optimizer.Settings, steps: Int
    ) -> LearningRateSchedule? {
        guard let end = options.optionalNumber("weight_decay_end", phase), settings.weightDecay > 0 else { return nil }
        return LearningRateSchedule(
            peak: 1, minimum: end / settings.weightDecay, warmupEpochs: 0, epochs: Double(max(steps, 1)), stepsPerEpoch: 1)
    }

    /// One step. Throws `MRP_ERR_NUMERIC` when the loss is not finite, and the loader's errors.
    ///
    /// `cancel` may be set by any thread; `poll` is called on this thread every 20 ms or so and may set it too.
    public func step(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) throws -> Outcome {
        guard progress.step < progress.steps else { return .finished }
        let start = monotonicSeconds()
        let batchData: Batch
        switch try loader.next(cancel: cancel) {
        case .batch(let next): batchData = next
        case .cancelled: return .cancelled
        case .end: return .finished
        }
        guard try fill(batchData) else {
            try loader.seek(epoch: batchData.epoch, step: batchData.step)
            return .cancelled
        }
        optimizer.step.step = progress.step + 1
        optimizer.step.learningRate = schedule.rate(step: progress.step)
        optimizer.step.decayScale = decaySchedule?.rate(step: progress.step) ?? 1
        optimizer.step.averageDecay = objective?.averageDecay(fraction: progress.fraction) ?? 1
        let heartbeat = poll.map { Heartbeat($0) }
        let finished = try executor.run(cancel: cancel, poll: heartbeat?.beat) {
            guard executor.scalar(loss).isFinite else {
                throw MRPError(
                    .numeric,
                    "the loss of step \(progress.step) is \(executor.scalar(loss)); the model keeps the step before: lower learning_rate \(optimizer.step.learningRate)"
                )
            }
            if clipLimit > 0 { try optimizer.clip(executor, to: clipLimit) }
            return true
        }
        guard finished else {
            try loader.seek(epoch: batchData.epoch, step: batchData.step)
            return .cancelled
        }
        record(batchData, seconds: monotonicSeconds() - start)
        if progress.step == progress.steps, phase == .pretrain { model.isPretrained = true }
        return .stepped
    }

    private var state: Checkpoint.State {
        Checkpoint.State(
            phase: phase, step: progress.step, steps: progress.steps, batch: batch, seed: options.seed, seconds: progress.seconds)
    }

    /// Writes the run's state between two steps; the file is replaced as a whole.
    public func save(to path: String) throws {
        try Checkpoint.save(model, moments: optimizer.moments, state, to: path)
    }

    /// Continues a saved run with the same model, data and options: the result is the same, bit for bit, as without the stop.
    public func resume(from path: String) throws {
        let saved = try Checkpoint.load(path, model, moments: optimizer.moments, expected: state)
        try loader.seek(epoch: saved.step / loader.stepsPerEpoch, step: saved.step % loader.stepsPerEpoch)
        progress.step = saved.step
        progress.seconds = saved.seconds
        progress.epoch = Double(saved.step) / Double(loader.stepsPerEpoch)
    }

    /// Copies a batch and its masks into the graph's inputs; false when the caller's masking stops the run.
    private func fill(_ data: Batch) throws -> Bool {
        guard let images = executor.input(MaskedAutoencoder.imagesInput) else { return true }
        images.memory.copyMemory(from: data.images, byteCount: images.bytes)
        guard let objective else {
            executor.input(Classification.labelsInput)?.memory.copyMemory(from: data.labels, byteCount: 4 * batch)
            return true
        }
        let step = ObjectiveStep(
            batch: batch, seed: options.seed, step: progress.step, indices: UnsafeBufferPointer(start: data.indices, count: batch),
            masking: masking)
        return try objective.prepare(step, executor)
    }

    private func record(_ data: Batch, seconds: Double) {
        if data.step == 0 { epochLosses = (0, 0) }
        progress.learningRate = optimizer.step.learningRate
        progress.step += 1
        progress.epoch = Double(progress.step) / Double(loader.stepsPerEpoch)
        progress.loss = executor.scalar(loss)
        epochLosses = (epochLosses.sum + progress.loss, epochLosses.count + 1)
        progress.meanLoss = epochLosses.sum / Double(epochLosses.count)
        progress.seconds += seconds
        progress.imagesPerSecond = Double(progress.step * batch) / max(progress.seconds, 1e-9)
    }
}
