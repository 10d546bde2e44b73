import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// One training run, step by step, of any `TrainingObjective`.
///
/// Graph, memory plan, optimiser and loader are made once; a step takes a batch, runs the compiled graph and updates the weights.
/// A step that is cancelled or fails changes nothing: the model keeps its last finished step.
public final class Trainer {
    public enum Outcome { case stepped, finished, cancelled }

    public let model: Model
    public let phase: Phase
    public internal(set) var progress: TrainingProgress
    /// Places of a batch in the global one; a step takes `accumulation_steps` batches.
    public let slice: BatchSlice
    /// The same by device: each computes its share of a batch.
    private let shares: [BatchSlice]
    /// Bytes that training needs: weights, moments, values of a step, scratch memory.
    public let plannedBytes: Int

    /// Images per batch.
    public var batch: Int { slice.count }
    /// The same with the batches that the loader holds.
    var allBytes: Int { plannedBytes + loader.bytes }
    var stepsPerEpoch: Int { recipe.stepsPerEpoch }

    /// Plan of the run in one line.
    public var summary: String {
        "\(phase.rawValue): \(progress.steps) steps of \(batch * recipe.accumulationSteps) images, \(plannedBytes >> 20) MiB, \(options.threads) threads"
    }

    /// The caller's masks in pretraining; nil: the objective's own.
    public var masking: Masking?
    /// The caller's targets, for objectives that take some.
    public var targets: Targets?

    let options: Options
    let graph: Graph
    /// Values that are read beside the loss and the norms of the gradients.
    let outputs: [Value]
    let program: any Program
    let optimizer: Optimizer
    let loader: BatchLoader
    let loss: Value
    /// The terms that the loss is the sum of.
    let losses: [Loss]
    let recipe: Recipe
    public let objective: any TrainingObjective
    /// Weights that the objective has beside the model's.
    let companions: Parameters
    /// Dataset for the weights that the objective measures; nil once they are there. A resumed run has them from its checkpoint.
    private var unmeasured: (any ImageDataset)?
    /// Clusters of the images, where the model routes by them.
    private let clusters: ImageClusters?
    /// Features that are watched for collapse; nil where none are marked.
    private let features: (value: Value, width: Int)?
    /// Progress values that the objective marked.
    private let reports: [(name: String, value: Value)]
    var epochLosses = (sum: 0.0, count: 0)
    /// State of the run beyond its steps, such as its measurements.
    var runState: RunState?
    /// What run this is.
    var identity: RunIdentity
    /// Factor of the learning rate: below 1 after the run was rolled back.
    var rateScale = 1.0
    private var learningRate = 0.0
    /// Number of the batch whose inputs were filled ahead, or how that failed; nil: none was. A nil number: it was cancelled.
    private var filled: Result<Int?, any Error>?

    public init(
        _ model: Model, _ dataset: any ImageDataset, _ options: Options, _ phase: Phase, cancel: UnsafePointer<Int32>? = nil,
        poll: (() -> Void)? = nil
    ) throws {
        try Pipeline.check(dataset, fits: model)
        self.model = model
        self.phase = phase
        self.options = options
        slice = BatchSlice(whole: RunLength.batch(options, phase, images: dataset.count))
        objective = try phase.attachObjective(to: model, dataset, options)
        unmeasured = objective.measured == nil ? nil : dataset
        try Pipeline.establishPixels(model, dataset, options)
        try Pipeline.establishNormalization(model, dataset, options, cancel: cancel, poll: poll)
        loader = try Pipeline.trainingLoader(
            dataset, model, options, phase, slice: slice, views: objective.views, readsPixelTargets: objective.readsPixelTargets)
        recipe = try Recipe(options, phase, model, batch: slice.count, batches: loader.stepsPerEpoch)
        clusters = try ImageClusters(model, dataset, options, batch: slice.count, cancel: cancel, poll: poll)

        let backend = try options.backend(sharesBatch: true)
        guard slice.count % backend.replicas == 0 else {
            throw MRPError(.argument, "a batch of \(slice.count) images is no multiple of the \(backend.replicas) devices that share it")
        }
        let (share, slice) = (slice.count / backend.replicas, slice)
        let shares = try (0..<backend.replicas).map { try BatchSlice(first: slice.first + $0 * share, count: share, total: slice.total) }
        self.shares = shares
        let graph = Graph()
        let routers = MixtureContext.Routers()
        companions = Parameters()
        try companions.add(objective.companions, seed: options.seed)
        let builder = model.builder(
            graph, training: objective.updatesStatistics, dropPath: recipe.dropPath, mixture: MixtureContext(training: routers),
            companions: companions.specifications)
        let terms = try objective.losses(builder, batch: share) + routers.losses(graph, options)
        let total = try Loss.total(terms, in: graph)
        features = graph.marks[NetworkBuilder.featuresMark].map { ($0, graph.type(of: $0).width) }
        var settings = recipe.optimizer
        settings.sharesBatch = shares.count > 1
        optimizer = try Optimizer(
            graph, loss: total, model: model, companions: companions.specifications, objective: objective, settings: settings)
        func mean(_ value: Value) throws -> Value { shares.count > 1 ? try graph.apply(ReplicaMean(), [value])[0] : value }
        loss = try mean(total)
        losses = try terms.map { Loss($0.name, try mean($0.value), weight: $0.weight) }
        self.graph = graph
        let prefix = NetworkBuilder.reportPrefix
        reports = try graph.marks.filter { $0.key.hasPrefix(prefix) }.sorted { $0.key < $1.key }.map {
            (String($0.key.dropFirst(prefix.count)), try mean($0.value))
        }
        outputs = (losses.count > 1 ? losses.map(\.value) : []) + (features.map { [$0.value] } ?? []) + reports.map(\.value)
        program = try backend.compile(
            graph, outputs: outputs, guards: [loss] + optimizer.norms.map(\.value),
            state: model.parameters.tensors.merging(optimizer.tensors) { first, _ in first }.merging(companions.tensors) { first, _ in first
            })
        plannedBytes = program.bytes + model.parameters.bytes + optimizer.bytes + companions.bytes
        progress = TrainingProgress(phase: phase.rawValue, steps: recipe.steps)
        identity = try RunIdentity(phase, options, model, objective, dataset, batch: slice.total)
        model.refresh = { [weak self] in try self?.program.downloadState() }
    }

    deinit { try? program.downloadState() }

    /// Throws when the run has no use for targets of the caller's.
    public func checkTakesTargets() throws {
        guard objective.takesTargets else {
            throw MRPError(.state, "targets belong to objective given, this run has \(objective.objectiveName)")
        }
    }

    // MARK: A step

    /// One step. Throws `MRP_ERR_NUMERIC` when the loss is not finite, and the loader's errors.
    ///
    /// `cancel` may be set by any thread; `poll` is called on this thread every 20 ms or so and may set it too.
    public func step(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) throws -> Outcome {
        guard progress.step < progress.steps else { return .finished }
        let start = monotonicSeconds()
        if let dataset = unmeasured, let measured = objective.measured {
            guard try measured.measure(model, dataset, options, cancel: cancel, poll: poll) else { return .cancelled }
            try program.uploadState()
            unmeasured = nil
        }
        try writeSchedule()
        let heartbeat = poll.map { Heartbeat($0) }
        let parts = recipe.accumulationSteps
        var sum = 0.0
        for part in 0..<parts {
            do {
                guard try run(part: part, sum: &sum, cancel: cancel, poll: heartbeat?.beat) else {
                    try seek(step: progress.step)
                    return .cancelled
                }
            } catch {
                // The next call goes on behind the batches of this one, as the loader does for one batch.
                if parts > 1 || filled != nil { try? seek(step: progress.step + 1) }
                throw error
            }
        }
        try record(loss: sum / Double(parts), seconds: monotonicSeconds() - start)
        if progress.step % recipe.stepsPerEpoch == 0, loader.stepsPerEpoch % parts != 0 { try seek(step: progress.step) }
        if progress.step == progress.steps { try takeAverages() }
        markPretrained()
        return .stepped
    }

    /// Scalars that change from step to step.
    private func writeSchedule() throws {
        learningRate = rateScale * recipe.learningRate.rate(step: progress.step)
        defer { program.replica = 0 }
        for replica in shares.indices {
            program.replica = replica
            try writeScalars()
        }
    }

    private func writeScalars() throws {
        try program.write(learningRate, to: .learningRate)
        try program.write(Double(progress.step + 1), to: .step)
        try program.write(recipe.weightDecay?.rate(step: progress.step) ?? 1, to: .decayScale)
        try program.write(recipe.emaDecay, to: .averageDecay)
        try program.write(objective.emaDecay(fraction: progress.fraction), to: .teacherDecay)
        try program.write(objective.lossRamp(fraction: progress.fraction), to: .lossRamp)
        try program.write(1 / Double(recipe.accumulationSteps), to: .accumulationShare)
    }

    /// Takes a batch and does its work, and with the last part of a step the updates. False when it was cancelled.
    private func run(part: Int, sum: inout Double, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?) throws -> Bool {
        // Random numbers are counted by batches.
        let number = progress.step * recipe.accumulationSteps + part
        guard try takeBatch(number, cancel: cancel) else { return false }
        let isLast = part == recipe.accumulationSteps - 1
        for replica in shares.indices {
            program.replica = replica
            try program.write(part == 0 ? 0 : 1, to: .accumulationKeep)
        }
        program.replica = 0
        let fillsAhead = !asksCaller && number + 1 < progress.steps * recipe.accumulationSteps
        let outcome = try program.execute(
            cancel: cancel, poll: poll, updates: isLast,
            meanwhile: fillsAhead
                ? { [self] in filled = Result { try take(number + 1, cancel: cancel) ? number + 1 : nil } } : nil)
        switch outcome {
        case .cancelled: return false
        case .notFinite:
            let value = try program.scalar(loss)
            guard value.isFinite else { throw try numericFailure("the loss is \(value)") }
            throw try numericFailure("the gradient of '\(optimizer.firstBadGradient(program) ?? "")' is not finite")
        case .finished: sum += try program.scalar(loss)
        }
        return true
    }

    /// Functions of the caller's are called in their own step, so no batch is taken ahead of it.
    private var asksCaller: Bool { masking != nil || targets != nil }

    /// The inputs of a batch, unless they were filled while the device did the one before. False when it was cancelled.
    private func takeBatch(_ number: Int, cancel: UnsafePointer<Int32>?) throws -> Bool {
        defer { filled = nil }
        guard let ahead = try filled?.get() else { return try take(number, cancel: cancel) }
        if ahead == number, !asksCaller { return true }
        try seek(step: number / recipe.accumulationSteps)
        return try take(number, cancel: cancel)
    }

    private func take(_ number: Int, cancel: UnsafePointer<Int32>?) throws -> Bool {
        // The flag, or the caller, also stops an image that is being decoded on this thread.
        let next = try Interruption.allowed(cancel) { try loader.next(cancel: cancel) }
        guard case .batch(let data) = next else { return false }
        return try fill(data, number: number)
    }

    private func numericFailure(_ what: String) throws -> MRPError {
        let source = try program.firstNonFinite().map { "; the first bad value is \($0)" } ?? ""
        return MRPError(
            .numeric,
            "step \(progress.step): \(what)\(source); the model keeps the step before: lower learning_rate \(learningRate)")
    }

    /// Copies a batch into the graph's inputs and lets the objective fill its own; false when a function of the caller's stops the run.
    private func fill(_ data: Batch, number: Int) throws -> Bool {
        let values = model.encoder.geometry.imageShape.reduce(1, *)
        let ids = data.views * model.encoder.geometry.height * model.encoder.geometry.width
        defer { program.replica = 0 }
        for (replica, share) in shares.enumerated() {
            program.replica = replica
            let (first, count) = (share.first - slice.first, share.count)
            try program.withInput(Inputs.imagesName, as: Float.self) {
                Self.copy(data.images + first * data.views * values, count: count, views: data.views, values: values, into: $0)
            }
            try recipe.dropPath?.fill(program, slice: share, seed: options.seed, step: number)
            try clusters?.fill(program, UnsafeBufferPointer(start: data.indices + first, count: count))
            let step = TrainingStep(
                slice: share, seed: options.seed, step: number,
                indices: UnsafeBufferPointer(start: data.indices + first, count: count),
                labels: UnsafeBufferPointer(start: data.labels + first, count: count), masking: masking, targets: targets,
                startsEpoch: number / recipe.accumulationSteps % recipe.stepsPerEpoch == 0,
                pixelTargets: data.targets.map { UnsafeBufferPointer(start: $0 + first * ids, count: count * ids) })
            guard try objective.prepare(step, program) else { return false }
        }
        return true
    }

    /// Copies the images of samples whose views follow each other to a batch that lies view by view.
    private static func copy(
        _ images: UnsafePointer<Float>, count: Int, views: Int, values: Int, into batch: UnsafeMutableBufferPointer<Float>
    ) {
        guard let start = batch.baseAddress, batch.count >= count * views * values else { return }
        guard views > 1 else { return start.update(from: images, count: count * values) }
        for view in 0..<views {
            for image in 0..<count {
                (start + (view * count + image) * values).update(from: images + (image * views + view) * values, count: values)
            }
        }
    }

    private func record(loss: Double, seconds: Double) throws {
        if let features {
            try program.withOutput(features.value, as: Float.self) { values in
                let metrics = FeatureMetrics(values, count: batch, width: features.width)
                progress.measures["feature_std"] = metrics.deviation
                progress.measures["feature_rank"] = metrics.rank
            }
        }
        if losses.count > 1 {
            for term in losses { progress.measures[Self.measureName(of: term)] = try program.scalar(term.value) }
        }
        for report in reports { progress.measures[report.name] = try program.scalar(report.value) }
        if progress.step % recipe.stepsPerEpoch == 0 { epochLosses = (0, 0) }
        progress.learningRate = learningRate
        progress.step += 1
        progress.epoch = Double(progress.step) / Double(recipe.stepsPerEpoch)
        progress.loss = loss
        epochLosses = (epochLosses.sum + loss, epochLosses.count + 1)
        progress.seconds += seconds
        showMeans()
    }

    /// Names of the measures that a step makes itself.
    var measureNames: [String] {
        (features == nil ? [] : ["feature_std", "feature_rank"]) + (losses.count > 1 ? losses.map(Self.measureName) : [])
            + reports.map(\.name)
    }

    private static func measureName(of term: Loss) -> String { "loss_\(term.name)" }

    /// Mean loss of the epoch and mean speed.
    private func showMeans() {
        guard epochLosses.count > 0 else { return }
        progress.meanLoss = epochLosses.sum / Double(epochLosses.count)
        progress.imagesPerSecond = Double(progress.step * batch * recipe.accumulationSteps) / max(progress.seconds, 1e-9)
    }

    // MARK: Places in the run

    /// The next batch is the first of this step.
    func seek(step: Int) throws {
        filled = nil
        try loader.seek(epoch: step / recipe.stepsPerEpoch, step: step % recipe.stepsPerEpoch * recipe.accumulationSteps)
    }

    /// The run is after this step.
    func show(step: Int, seconds: Double) {
        progress.step = step
        progress.seconds = seconds
        progress.epoch = Double(step) / Double(recipe.stepsPerEpoch)
        showMeans()
        markPretrained()
    }

    private func markPretrained() {
        if progress.step == progress.steps, phase == .pretrain { model.isPretrained = true }
    }
}
