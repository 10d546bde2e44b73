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

    /// Fills noise [count, L] for the images of a step, given by their numbers in the dataset: the patches with the smallest values stay
    /// visible. False stops the step. Nil: random noise. Only in pretraining.
    public var masking: ((_ indices: UnsafeBufferPointer<Int64>, _ noise: UnsafeMutableBufferPointer<Float>) -> Bool)?

    let options: Options
    let executor: Executor
    let optimizer: Optimizer
    let loader: BatchLoader
    private let schedule: LearningRateSchedule
    private let weightDecay: Double
    private let clipLimit: Double
    let loss: Value
    private let visibleCount: Int
    var epochLosses = (sum: 0.0, count: 0)

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
        let settings = try Self.settings(options, phase, model)
        weightDecay = settings.weightDecay
        clipLimit = options.number("clip_gradient", phase)
        optimizer = try Optimizer(graph, loss: loss, model: model, settings: settings)
        let bound = model.parameters.tensors.merging(optimizer.moments) { first, _ in first }
        executor = try Executor(graph, outputs: [loss] + optimizer.norms.map(\.value), bound: bound, compute: options.compute())
        plannedBytes = executor.bytes + model.parameters.bytes + optimizer.bytes

        let epochs = options.number("epochs", phase)
        let steps = Int((epochs * Double(loader.stepsPerEpoch)).rounded())
        schedule = Self.schedule(options, phase, method: settings.method, batch: batch, stepsPerEpoch: loader.stepsPerEpoch)
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

    /// What weight decay is multiplied by at a step: 1, or half a cosine from 1 to weight_decay_end / weight_decay.
    private func decayScale(step: Int) -> Double {
        guard let end = options.optionalNumber("weight_decay_end", phase), weightDecay > 0 else { return 1 }
        return LearningRateSchedule(
            peak: 1, minimum: end / weightDecay, warmupEpochs: 0, epochs: Double(max(progress.steps, 1)), stepsPerEpoch: 1
        ).rate(step: step)
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
        optimizer.step.learningRate = rateScale * schedule.rate(step: progress.step)
        optimizer.step.decayScale = decayScale(step: progress.step)
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
        markPretrained()
        return .stepped
    }

    var state: Checkpoint.State {
        Checkpoint.State(
            phase: phase, step: progress.step, steps: progress.steps, batch: batch, seed: options.seed, seconds: progress.seconds,
            epochLosses: epochLosses, run: runState)
    }

    /// What else belongs to the run's state, such as what its measurements were.
    var runState: JSON?
    /// What the learning rate is multiplied by: below 1 after the run was rolled back.
    var rateScale = 1.0

    /// Writes the run's state between two steps; the file is replaced as a whole.
    public func save(to path: String) throws {
        try Checkpoint.save(model, moments: optimizer.moments, state, to: path)
    }

    /// The bytes of a checkpoint; valid until the next step.
    func encodedState() throws -> Safetensors.Encoded { try Checkpoint.encode(model, moments: optimizer.moments, state) }

    /// Continues a saved run with the same model, data and options: the result is the same, bit for bit, as without the stop.
    public func resume(from path: String) throws {
        let saved = try Checkpoint.load(path, model, moments: optimizer.moments, expected: state)
        runState = saved.run
        epochLosses = saved.epochLosses
        try seek(to: saved.step, seconds: saved.seconds)
    }

    /// The next step is number `step`.
    func seek(to step: Int, seconds: Double) throws {
        try loader.seek(epoch: step / loader.stepsPerEpoch, step: step % loader.stepsPerEpoch)
        progress.step = step
        progress.seconds = seconds
        progress.epoch = Double(step) / Double(loader.stepsPerEpoch)
        markPretrained()
    }

    private func markPretrained() {
        if progress.step == progress.steps, phase == .pretrain { model.isPretrained = true }
    }

    /// Copies a batch and its masks into the graph's inputs; false when the caller's masking stops the run.
    private func fill(_ data: Batch) throws -> Bool {
        guard let images = executor.input(MaskedAutoencoder.imagesInput) else { return true }
        images.memory.copyMemory(from: data.images, byteCount: images.bytes)
        switch phase {
        case .pretrain:
            guard let mask = try mask(data) else { return false }
            mask.fill(executor)
        case .finetune:
            executor.input(Classification.labelsInput)?.memory.copyMemory(from: data.labels, byteCount: 4 * batch)
        }
        return true
    }

    private func mask(_ data: Batch) throws -> PatchMask? {
        let count = model.encoder.geometry.count
        guard let masking else {
            return try PatchMask.random(batch: batch, count: count, visibleCount: visibleCount, seed: options.seed, step: progress.step)
        }
        let noise = try Tensor([batch, count])
        guard masking(UnsafeBufferPointer(start: data.indices, count: batch), noise.float32) else { return nil }
        if let bad = noise.float32.firstIndex(where: { $0.isNaN }) {
            throw MRPError(.argument, "the noise of image \(data.indices[bad / count]) is NaN at patch \(bad % count)")
        }
        if noise.float32.allSatisfy({ $0 == 0 || $0 == 1 }) {  // masks: then nothing may be left to the ties
            for image in 0..<batch {
                let hidden = noise.float32[image * count..<(image + 1) * count].count { $0 == 1 }
                guard hidden == count - visibleCount else {
                    throw MRPError(
                        .argument,
                        "the mask of image \(data.indices[image]) hides \(hidden) of \(count) patches, mask_ratio \(model.maskRatio) hides \(count - visibleCount)"
                    )
                }
            }
        }
        return PatchMask(noise: UnsafeBufferPointer(noise.float32), batch: batch, count: count, visibleCount: visibleCount)
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
