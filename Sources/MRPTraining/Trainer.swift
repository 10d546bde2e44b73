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
    public internal(set) var progress: TrainingProgress
    /// Images per batch; a step takes `accumulation_steps` of them.
    public let batch: Int
    /// Bytes that training needs: weights, moments, values of a step, scratch memory.
    public let plannedBytes: Int

    /// The same with the batches that the loader holds.
    var allBytes: Int { plannedBytes + loader.bytes }
    var stepsPerEpoch: Int { recipe.stepsPerEpoch }

    /// What the run is going to do, in one line.
    public var summary: String {
        "\(phase.rawValue): \(progress.steps) steps of \(batch * recipe.parts) images, \(plannedBytes >> 20) MiB, \(options.threads) threads"
    }

    /// The caller's masks in pretraining; nil: the objective's own.
    public var masking: Masking?
    /// The caller's targets, for objective `given`.
    public var targets: Targets?

    let options: Options
    let program: any Program
    let optimizer: Optimizer
    let loader: BatchLoader
    private let recipe: Recipe
    let loss: Value
    /// What pretraining learns by; nil in fine-tuning.
    private let objective: (any PretrainingObjective)?
    /// The images, until what the objective measures on them is there; a resumed run has it from its checkpoint.
    private var unmeasured: ImageDataset?
    /// The features that are watched for collapse; nil where there are none.
    private let features: (value: Value, width: Int)?
    /// How fine-tuning mixes its images; nil: not at all.
    private let mixing: BatchMixing?
    var epochLosses = (sum: 0.0, count: 0)
    /// Learning rate of the latest step.
    private var learningRate = 0.0

    public init(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase, cancel: UnsafePointer<Int32>? = nil,
        poll: (() -> Void)? = nil
    ) throws {
        try Pipeline.check(dataset, fits: model)
        self.model = model
        self.phase = phase
        self.options = options
        unmeasured = phase == .pretrain ? dataset : nil
        batch = min(options.integer("batch_size", phase), dataset.count)
        try Self.prepare(model, dataset, options, phase)
        try Pipeline.establishNormalization(model, dataset, options, cancel: cancel, poll: poll)
        loader = try Pipeline.trainingLoader(dataset, model, options, phase, batch: batch)

        recipe = try Recipe(options, phase, model, batch: batch, batches: loader.stepsPerEpoch)

        let graph = Graph()
        // A frozen encoder keeps its running statistics too.
        let isTraining = !(phase == .finetune && options.flag("frozen_encoder"))
        let builder = model.builder(graph, training: isTraining, dropPath: recipe.dropPath)
        switch phase {
        case .pretrain:
            guard let objective = model.objective else { throw MRPError(.internalError, "pretraining without an objective") }
            (self.objective, mixing) = (objective, nil)
            loss = try objective.loss(builder, batch: batch)
        case .finetune:
            objective = nil
            mixing = Pipeline.mixing(options)
            loss = try Classification(model, smoothing: options.number("label_smoothing")).loss(
                builder, batch: batch, againstTargets: mixing != nil
            ).loss
        }
        features = graph.marks[NetworkBuilder.featuresMark].map { ($0, graph.type(of: $0).width) }
        optimizer = try Optimizer(
            graph, loss: loss, model: model, settings: recipe.optimizer, teacher: objective?.averages ?? [], recomputes: recipe.recomputes)
        program = try options.backend().compile(
            graph, outputs: [loss] + (features.map { [$0.value] } ?? []) + optimizer.norms.map(\.value),
            state: model.parameters.tensors.merging(optimizer.tensors) { first, _ in first })
        plannedBytes = program.bytes + model.parameters.bytes + optimizer.bytes
        progress = TrainingProgress(phase: phase.rawValue, steps: recipe.steps)
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
            if model.head != head {
                let probes = options.flag("frozen_encoder")
                let deviation = options.optionalNumber("head_deviation") ?? (probes ? 0.01 : nil)
                try model.attach(head, deviation: deviation, seed: options.seed)
            }
            model.classNames = dataset.classNames
            // A decoder belongs to the encoder as it was; fine-tuning changes the encoder.
            model.detachObjective()
        }
    }

    /// Throws when the run has no use for targets of the caller's.
    public func checkTakesTargets() throws {
        guard objective is GivenTargets else {
            throw MRPError(
                .state, "targets belong to objective given, this run has \(objective?.name ?? "none: it is made for \(phase.rawValue)")")
        }
    }

    /// One step. Throws `MRP_ERR_NUMERIC` when the loss is not finite, and the loader's errors.
    ///
    /// `cancel` may be set by any thread; `poll` is called on this thread every 20 ms or so and may set it too.
    public func step(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) throws -> Outcome {
        guard progress.step < progress.steps else { return .finished }
        let start = monotonicSeconds()
        if let dataset = unmeasured {
            guard try Objectives.measure(model, dataset, options, cancel: cancel, poll: poll) else { return .cancelled }
            unmeasured = nil
        }
        try writeScalars()
        let heartbeat = poll.map { Heartbeat($0) }
        var losses = 0.0
        for part in 0..<recipe.parts {
            try program.write(part == 0 ? 0 : 1, to: .accumulationKeep)
            do {
                guard try run(part: part, losses: &losses, cancel: cancel, poll: heartbeat?.beat) else {
                    try seek(step: progress.step)
                    return .cancelled
                }
            } catch {
                // The next call goes on behind the batches of this one, as the loader does for one batch.
                if recipe.parts > 1 { try? seek(step: progress.step + 1) }
                throw error
            }
        }
        try record(loss: losses / Double(recipe.parts), seconds: monotonicSeconds() - start)
        if progress.step % recipe.stepsPerEpoch == 0, loader.stepsPerEpoch % recipe.parts != 0 { try seek(step: progress.step) }
        if progress.step == progress.steps { try takeAverages() }
        markPretrained()
        return .stepped
    }

    /// Writes the scalars of the next step.
    private func writeScalars() throws {
        learningRate = rateScale * recipe.learningRate.rate(step: progress.step)
        try program.write(learningRate, to: .learningRate)
        try program.write(recipe.weightDecay?.rate(step: progress.step) ?? 1, to: .decayScale)
        try program.write(Double(progress.step + 1), to: .step)
        try program.write(recipe.averageDecay, to: .averageDecay)
        try program.write(objective?.averageDecay(fraction: progress.fraction) ?? 1, to: .teacherDecay)
        try program.write(1 / Double(recipe.parts), to: .accumulationShare)
    }

    /// Takes a batch and does its work, and with the last part of a step the updates. False when it was cancelled.
    private func run(part: Int, losses: inout Double, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?) throws -> Bool {
        guard case .batch(let data) = try loader.next(cancel: cancel), try fill(data, part: part) else { return false }
        let isLast = part == recipe.parts - 1
        return try program.run(cancel: cancel, poll: poll, updates: isLast) {
            let value = try program.scalar(loss)
            guard value.isFinite else { throw try numericFailure("the loss is \(value)") }
            if isLast, let bad = try optimizer.firstBadGradient(program) {
                throw try numericFailure("the gradient of '\(bad)' is not finite")
            }
            losses += value
            return true
        }
    }

    private func numericFailure(_ what: String) throws -> MRPError {
        let source = try program.firstNonFinite().map { "; the first bad value is \($0)" } ?? ""
        return MRPError(
            .numeric,
            "step \(progress.step): \(what)\(source); the model keeps the step before: lower learning_rate \(learningRate)")
    }

    var state: Checkpoint.State {
        Checkpoint.State(
            phase: phase, step: progress.step, steps: progress.steps, batch: batch, parts: recipe.parts, seed: options.seed,
            seconds: progress.seconds, epochLosses: epochLosses, run: runState)
    }

    /// What else belongs to the run's state, such as what its measurements were.
    var runState: JSON?
    /// What the learning rate is multiplied by: below 1 after the run was rolled back.
    var rateScale = 1.0

    /// Writes the run's state between two steps; the file is replaced as a whole.
    public func save(to path: String) throws {
        try program.downloadState()
        try Checkpoint.save(model, moments: optimizer.moments, state, to: path)
    }

    /// The bytes of a checkpoint; valid until the next step.
    func encodedState() throws -> Safetensors.Encoded {
        try program.downloadState()
        return try Checkpoint.encode(model, moments: optimizer.moments, state)
    }

    /// Continues a saved run with the same model, data and options: the result is the same, bit for bit, as without the stop.
    public func resume(from path: String) throws { try resume(from: SafetensorsFile(path: path)) }

    func resume(from file: SafetensorsFile) throws {
        let saved = try Checkpoint.load(file, model, moments: optimizer.moments, expected: state)
        try program.uploadState()
        runState = saved.run
        epochLosses = saved.epochLosses
        try seek(to: saved.step, seconds: saved.seconds)
    }

    /// Gives the model the weights of a checkpoint of this run, averaged where averages are kept; the run itself stays where it is.
    func takeWeights(from file: SafetensorsFile) throws {
        _ = try Checkpoint.load(file, model, moments: optimizer.averages, expected: state)
        optimizer.takeAverages(model)
        try program.uploadState()
    }

    /// Gives the model its averaged weights, where they are kept: what a run ends with.
    func takeAverages() throws {
        try program.downloadState()
        optimizer.takeAverages(model)
        try program.uploadState()
    }

    /// Runs the body while the model has its averaged weights, where they are kept.
    func withAverages<Result>(_ body: () throws -> Result) throws -> Result {
        try program.downloadState()
        optimizer.exchangeAverages(model)
        defer { optimizer.exchangeAverages(model) }
        return try body()
    }

    /// The next batch is the first of this step.
    private func seek(step: Int) throws {
        try loader.seek(epoch: step / recipe.stepsPerEpoch, step: step % recipe.stepsPerEpoch * recipe.parts)
    }

    /// The next step is number `step`.
    func seek(to step: Int, seconds: Double) throws {
        try seek(step: step)
        progress.step = step
        progress.seconds = seconds
        progress.epoch = Double(step) / Double(recipe.stepsPerEpoch)
        markPretrained()
    }

    private func markPretrained() {
        if progress.step == progress.steps, phase == .pretrain { model.isPretrained = true }
    }

    /// Copies a batch and its masks into the graph's inputs; false when the caller's masking stops the run.
    private func fill(_ data: Batch, part: Int) throws -> Bool {
        let size = model.encoder.geometry.imageShape.reduce(1, *)
        let images = UnsafeBufferPointer(start: data.images, count: batch * size)
        guard try program.write(images, to: MaskedAutoencoder.imagesInput) else { return true }
        // Random numbers are counted by batches.
        let number = progress.step * recipe.parts + part
        try recipe.dropPath?.fill(program, seed: options.seed, step: number)
        guard let objective else {
            try program.write(UnsafeBufferPointer(start: data.labels, count: batch), to: Classification.labelsInput)
            if let mixing { try mix(data, by: mixing, step: number) }
            return true
        }
        let step = ObjectiveStep(
            batch: batch, seed: options.seed, step: number, indices: UnsafeBufferPointer(start: data.indices, count: batch),
            masking: masking, targets: targets)
        return try objective.prepare(step, program)
    }

    private func mix(_ data: Batch, by mixing: BatchMixing, step: Int) throws {
        guard let head = model.head else { return }
        let size = Pipeline.imageSize(model)
        try program.withInput(MaskedAutoencoder.imagesInput, as: Float.self) { images in
            try program.withInput(Classification.targetsInput, as: Float.self) { targets in
                guard let images = images.baseAddress, let targets = targets.baseAddress else { return }
                let share = BatchMixing.apply(
                    mixing.draw(seed: options.seed, step: step, size: size), images, count: batch,
                    channels: model.encoder.geometry.channels, size: size)
                BatchMixing.targets(
                    data.labels, count: batch, classes: head.classes, share: share, smoothing: options.number("label_smoothing"),
                    into: targets)
            }
        }
    }

    private func record(loss: Double, seconds: Double) throws {
        if let features {
            let metrics = try program.withOutput(features.value, as: Float.self) {
                FeatureMetrics($0, count: batch, width: features.width)
            }
            progress.measures["feature_std"] = metrics.deviation
            progress.measures["feature_rank"] = metrics.rank
        }
        if progress.step % recipe.stepsPerEpoch == 0 { epochLosses = (0, 0) }
        progress.learningRate = learningRate
        progress.step += 1
        progress.epoch = Double(progress.step) / Double(recipe.stepsPerEpoch)
        progress.loss = loss
        epochLosses = (epochLosses.sum + loss, epochLosses.count + 1)
        progress.meanLoss = epochLosses.sum / Double(epochLosses.count)
        progress.seconds += seconds
        progress.imagesPerSecond = Double(progress.step * batch * recipe.parts) / max(progress.seconds, 1e-9)
    }
}
