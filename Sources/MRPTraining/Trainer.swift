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

    private let options: Options
    private let executor: Executor
    private let optimizer: Optimizer
    private let loader: BatchLoader
    private let schedule: LearningRateSchedule
    private let loss: Value
    private let visibleCount: Int
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
            let objective = try MaskedAutoencoder(
                model, maskRatio: model.maskRatio, normalizesTargets: model.normalizesTargets)
            visibleCount = objective.visibleCount
            loss = try objective.loss(builder, batch: batch)
        case .finetune:
            visibleCount = 0
            loss = try Classification(model, smoothing: options.number("label_smoothing")).loss(builder, batch: batch).loss
        }
        optimizer = try Optimizer(graph, loss: loss, model: model, settings: Self.settings(options, phase, model))
        let bound = model.parameters.tensors.merging(optimizer.moments) { first, _ in first }
        executor = try Executor(graph, outputs: [loss], bound: bound, compute: options.compute())
        plannedBytes = executor.bytes + model.parameters.bytes + optimizer.bytes

        let epochs = options.number("epochs", phase)
        let steps = Int((epochs * Double(loader.stepsPerEpoch)).rounded())
        schedule = Self.schedule(options, phase, batch: batch, stepsPerEpoch: loader.stepsPerEpoch)
        progress = TrainingProgress(phase: phase.rawValue, steps: max(steps, 0))
    }

    /// The decoder or the head that the phase needs, and what the model remembers of the objective.
    private static func prepare(_ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase) throws {
        switch phase {
        case .pretrain:
            model.maskRatio = options.optionalNumber("mask_ratio") ?? 0.75
            model.normalizesTargets = options.flag("norm_pix_loss")
            _ = try PatchMask.visibleCount(patches: model.encoder.geometry.count, ratio: model.maskRatio)
            if model.decoder == nil { try model.attach(options.decoder(), seed: options.seed) }
        case .finetune:
            guard dataset.labels != nil else { throw MRPError(.argument, "fine-tuning needs labels, the dataset has none") }
            let head = try options.head(classes: max(dataset.classCount, 2))
            guard dataset.classCount <= head.classes else {
                throw MRPError(.argument, "the dataset has \(dataset.classCount) classes, option classes is \(head.classes)")
            }
            if model.head != head { try model.attach(head, seed: options.seed) }
            model.classNames = dataset.classNames
            // The decoder belongs to the encoder as it was; fine-tuning changes the encoder.
            model.detachDecoder()
        }
    }

    private static func settings(_ options: Options, _ phase: Phase, _ model: Model) -> Optimizer.Settings {
        let pretraining = phase == .pretrain
        let layerDecay = options.optionalNumber("layer_decay", phase) ?? (!pretraining && model.isPretrained ? 0.75 : 1)
        return Optimizer.Settings(
            beta1: options.number("beta1", phase), beta2: options.optionalNumber("beta2", phase) ?? (pretraining ? 0.95 : 0.999),
            weightDecay: options.number("weight_decay", phase), layerDecay: layerDecay, decaysTokens: pretraining,
            trainsHeadOnly: !pretraining && options.flag("frozen_encoder"))
    }

    private static func schedule(_ options: Options, _ phase: Phase, batch: Int, stepsPerEpoch: Int) -> LearningRateSchedule {
        let epochs = options.number("epochs", phase)
        let usual = phase == .pretrain ? 1.5e-3 : options.flag("frozen_encoder") ? 2e-2 : 2e-3
        let base = options.optionalNumber("base_learning_rate", phase) ?? usual
        return LearningRateSchedule(
            peak: options.optionalNumber("learning_rate", phase) ?? base * Double(batch) / 256,
            minimum: options.number("min_learning_rate", phase),
            warmupEpochs: options.optionalNumber("warmup_epochs", phase) ?? epochs * (phase == .pretrain ? 0.05 : 0.1),
            epochs: epochs, stepsPerEpoch: stepsPerEpoch)
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
        try fill(batchData)
        optimizer.step.step = progress.step + 1
        optimizer.step.learningRate = schedule.rate(step: progress.step)
        let heartbeat = poll.map { Heartbeat($0) }
        let finished = try executor.run(cancel: cancel, poll: heartbeat?.beat) {
            guard executor.scalar(loss).isFinite else {
                throw MRPError(
                    .numeric,
                    "the loss of step \(progress.step) is \(executor.scalar(loss)); the model keeps the step before: lower learning_rate \(optimizer.step.learningRate)"
                )
            }
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

    private func fill(_ data: Batch) throws {
        guard let images = executor.input(MaskedAutoencoder.imagesInput) else { return }
        images.memory.copyMemory(from: data.images, byteCount: images.bytes)
        switch phase {
        case .pretrain:
            try PatchMask.random(
                batch: batch, count: model.encoder.geometry.count, visibleCount: visibleCount, seed: options.seed,
                step: progress.step
            ).fill(executor)
        case .finetune:
            executor.input(Classification.labelsInput)?.memory.copyMemory(from: data.labels, byteCount: 4 * batch)
        }
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
