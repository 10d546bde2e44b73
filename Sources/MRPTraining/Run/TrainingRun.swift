import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// A training run with what belongs to it beyond its steps: checkpoints and logs in a folder, measurements on held-out images, early
/// stopping, a way back from numbers that are not finite, a time budget, a limit of memory.
///
/// With a `run_folder` the run goes on where the newest complete checkpoint there left off, with the same bits as if it had not been stopped.
public final class TrainingRun {
    public let trainer: Trainer
    public private(set) var end: End?
    /// Whether the run keeps its state in a folder, so that it can be suspended.
    public var hasFolder: Bool { store != nil }
    public var progress: TrainingProgress { trainer.progress }

    private let options: Options
    private let store: CheckpointStore?
    private let best: KeptState
    private let rollback: KeptState
    private var log: RunLog?
    private var events: EventLog?
    private let measurement: Measurement?
    /// Measurements, rollbacks and what else a checkpoint has to hold of the run itself.
    private var state = RunState()
    private var notes: [LogLine] = []
    private var unreadableCount = 0
    private let start = monotonicSeconds()
    private var savedAt = monotonicSeconds()

    /// - validation: images on which the run is measured; nil: it is not.
    public init(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase, validation: Validation? = nil,
        cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil
    ) throws {
        self.options = options
        // Pretraining reads no labels but those that it is measured by.
        let (dataset, validation) = (phase == .finetune ? try options.atLevel(dataset) : dataset, try validation.map(options.atLevel))
        let trainer = try MemoryLimit.trainer(model, dataset, options, phase, cancel: cancel, poll: poll)
        self.trainer = trainer
        notes += Pipeline.doubts(dataset, model, options, phase).map { .warning($0) }
        measurement = try validation.map {
            try Measurement($0, phase, options, model, steps: trainer.progress.steps, stepsPerEpoch: trainer.stepsPerEpoch)
        }
        if measurement == nil, options[MeasurementOptions.earlyStopping] > 0 {
            notes.append(.warning("early_stopping: there are no held-out images to go by"))
        }
        let folder = options[RunOptions.runFolder]
        let store = folder.isEmpty ? nil : try CheckpointStore(folder, phase, keep: options[RunOptions.keepCheckpoints])
        self.store = store
        best = KeptState("state of the best measurement", path: store?.bestPath)
        rollback = KeptState("state to roll back to", path: store?.rollbackPath)
        if let validation { try trainer.identity.add(validation, phase, options) }
        defer { model.trainingStart = trainer.identity.weights }
        guard let store else {
            try keepRollback(always: true)
            return
        }
        try RunLog.check(store.logPath)
        let found = try resume(from: store)
        try takeUp()
        store.newest = state.isRowDue ? nil : found
        // Also where a run goes on that did not keep one before.
        if trainer.progress.step == 0 || !rollback.holds(step: trainer.progress.step) { try keepRollback(always: true) }
    }

    /// Goes on from the newest checkpoint that is whole and returns its step; nil without one. Damaged newer ones are set aside under another
    /// name, once it is certain that the run goes on.
    private func resume(from store: CheckpointStore) throws -> Int? {
        guard let found = try store.newestWhole() else { return nil }
        guard options[RunOptions.continueRun] else {
            throw MRPError(.state, "run_folder '\(store.folder)' has checkpoints: set continue_run, or choose another folder")
        }
        notes += try (found.notes + trainer.resume(from: found.file, found: .inFolder)).map { .warning($0) }
        for step in found.damaged { store.setAside(step: step) }
        try store.prune()
        notes.append(.info("goes on from '\(store.path(step: found.step))'"))
        return found.step
    }

    /// Begins where the trainer's state is, which may be the end of the run.
    private func takeUp() throws {
        takeState()
        try openLogs(after: state.isRowDue ? progress.step - 1 : progress.step)
        guard !state.isRowDue else { return }
        if progress.step == progress.steps {
            end = .finished
        } else if hasLostPatience {
            end = .earlyStopping
            try trainer.takeAverages()
        }
        if end != nil { try restoreBest() }
    }

    /// Lines for the log since the last call: resumed steps, images left out, measurements, rollbacks.
    public func takeNotes() -> [LogLine] {
        defer { notes = [] }
        return notes
    }

    // MARK: A step

    /// One step and what follows it. Errors: those of `Trainer.step`, `.io` of checkpoints and logs. A step that is cancelled while the
    /// held-out images are measured is done; the next call measures them.
    public func step(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) throws -> Trainer.Outcome {
        if end == .suspended { end = nil }
        guard end == nil else { return .finished }
        try store?.check()
        if !state.isRowDue {
            switch try stepOrRollBack(cancel: cancel, poll: poll) {
            case .cancelled: return .cancelled
            case .finished:
                end = .finished
                try restoreBest()
                try store?.finish()
                return .finished
            case .stepped: state.isRowDue = true
            }
        }
        let isMeasured = isMeasurementDue
        if isMeasured, state.record.step != progress.step {
            guard try measure(cancel: cancel, poll: poll) else { return .cancelled }
        }
        noteUnreadableImages()
        try log?.add(progress, measured: isMeasured)
        try events?.add(progress.scalars(measured: isMeasured), phase: progress.phase, step: progress.step)
        state.isRowDue = false
        decideOnEnd()
        if end != nil || isCheckpointDue { try save() }
        if end == .earlyStopping { try trainer.takeAverages() }
        if end != nil, end != .timeBudget { try restoreBest() }
        try keepRollback()
        if end != nil { try store?.finish() }
        return .stepped
    }

    private var hasLostPatience: Bool {
        let patience = options[MeasurementOptions.earlyStopping]
        return patience > 0 && state.record.withoutBetter >= patience
    }

    private func decideOnEnd() {
        if progress.step == progress.steps {
            end = .finished
        } else if hasLostPatience {
            end = .earlyStopping
        } else if options[RunOptions.timeBudget] > 0, monotonicSeconds() - start >= options[RunOptions.timeBudget] {
            end = .timeBudget
        }
        if let end, end != .finished { notes.append(.info("stopped after step \(progress.step): \(end.text)")) }
    }

    private func noteUnreadableImages() {
        let found = trainer.loader.unreadable
        guard found.count != unreadableCount else { return }
        for (_, message) in found.sorted(by: { $0.key < $1.key }).suffix(found.count - unreadableCount) {
            notes.append(.warning("left out: \(message)"))
        }
        unreadableCount = found.count
        trainer.progress.measures["unreadable_images"] = Double(found.count)
    }

    // MARK: Measurements

    private var isMeasurementDue: Bool {
        guard let measurement else { return false }
        return progress.step % measurement.interval == 0 || progress.step == progress.steps
    }

    /// False when it was cancelled.
    private func measure(cancel: UnsafePointer<Int32>?, poll: (() -> Void)?) throws -> Bool {
        guard let measurement,
            let found = try trainer.withAverages({ try measurement.measure(trainer.model, cancel: cancel, poll: poll) })
        else { return false }
        let isBest = state.record.add(found, main: measurement.main, step: progress.step)
        showMeasures()
        let values = found.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }
        notes.append(.info("step \(progress.step): " + values.joined(separator: ", ")))
        if isBest, store != nil || options[MeasurementOptions.restoreBest] { try best.save(encodedState(), step: progress.step) }
        return true
    }

    /// Gives the model the weights of the best measurement at the end of a run, where the options ask for it.
    private func restoreBest() throws {
        guard options[MeasurementOptions.restoreBest], state.record.best != nil, state.record.bestStep != progress.step else { return }
        guard best.holds(step: state.record.bestStep) else {
            notes.append(
                .warning("the best weights, of step \(state.record.bestStep), were not kept: the model has those of step \(progress.step)"))
            return
        }
        try store?.finish()
        try trainer.takeWeights(from: best.open())
        notes.append(.info("the model has the weights of step \(state.record.bestStep)"))
    }

    // MARK: The state beyond the steps

    private func putState() {
        state.rateScale = trainer.rateScale
        trainer.runState = state
    }

    /// Bytes of a checkpoint.
    private func encodedState() throws -> Safetensors.Encoded {
        putState()
        return try trainer.encodedState()
    }

    private func showMeasures() {
        trainer.progress.measures.merge(state.record.values) { $1 }
        trainer.progress.measures["best"] = state.record.best
        trainer.progress.measures["best_step"] = state.record.best.map { _ in Double(state.record.bestStep) }
        trainer.progress.measures["rollbacks"] = Double(state.rollbacks)
    }

    private func takeState() {
        state = trainer.runState ?? RunState()
        trainer.rateScale = state.rateScale
        if trainer.runState != nil { showMeasures() }
    }

    // MARK: Back from numbers that are not finite

    private func stepOrRollBack(cancel: UnsafePointer<Int32>?, poll: (() -> Void)?) throws -> Trainer.Outcome {
        while true {
            do {
                return try trainer.step(cancel: cancel, poll: poll)
            } catch let error as MRPError where error.code == .numeric && state.rollbacks < options[RunOptions.rollbacks] {
                try rollBack(after: error)
            }
        }
    }

    /// Keeps the state where it is due, after a multiple of `rollback_steps`.
    private func keepRollback(always: Bool = false) throws {
        guard options[RunOptions.rollbacks] > 0, always || progress.step % options[RunOptions.rollbackSteps] == 0 else { return }
        try rollback.save(encodedState(), step: progress.step)
    }

    /// To the last kept state; from there with a lower learning rate.
    private func rollBack(after error: MRPError) throws {
        let (scale, count) = (trainer.rateScale * options[RunOptions.rollbackFactor], state.rollbacks + 1)
        try store?.finish()
        _ = try trainer.resume(from: rollback.open(), found: .byItself)
        takeState()
        (trainer.rateScale, state.rollbacks, state.isRowDue) = (scale, count, false)
        showMeasures()
        notes.append(.warning("rolled back to step \(progress.step), learning rate times \(scale): \(error.message)"))
        if let store {
            store.newest = nil
            try save()
            try store.finish()
            try store.forget(after: progress.step)
            try openLogs(after: progress.step)
        }
        try keepRollback(always: true)
    }

    // MARK: Checkpoints and logs

    /// Opens the log and the event file anew; what the files hold of later steps is taken out, or declared void.
    private func openLogs(after step: Int) throws {
        guard let store else { return }
        log = try RunLog(store.logPath, after: step)
        events = options[RunOptions.tensorboard] ? try EventLog(store.eventsPath, after: step) : nil
    }

    private var isCheckpointDue: Bool {
        let (steps, seconds) = (options[RunOptions.checkpointSteps], options[RunOptions.checkpointSeconds])
        if steps > 0, progress.step % steps == 0 { return true }
        return seconds > 0 && monotonicSeconds() - savedAt >= seconds
    }

    /// The rows of a checkpoint's steps are on the disk before it, so that a power cut loses none.
    private func save() throws {
        guard let store, progress.step != store.newest else { return }
        try log?.synchronize()
        try events?.synchronize()
        try store.save(encodedState(), step: progress.step)
        savedAt = monotonicSeconds()
        if state.isRowDue { store.newest = nil }  // the state of the whole step is another one
    }

    /// Writes the state to a file of the caller's, which is replaced as a whole. Errors: `.io`.
    public func save(to path: String) throws {
        putState()
        try trainer.save(to: path)
    }

    /// Continues a state that was saved elsewhere than in the run folder. Errors: as of `Trainer.resume`.
    public func resume(from path: String, cancel: UnsafePointer<Int32>? = nil) throws {
        let file = try Interruption.allowed(cancel) { try SafetensorsFile(path: path) }
        notes += try trainer.resume(from: file, found: .byCaller, cancel: cancel).map { .warning($0) }
        end = nil
        trainer.model.trainingStart = trainer.identity.weights
        store?.newest = nil
        try takeUp()
        try keepRollback(always: true)
    }

    /// Writes the state into the run folder, from where a new run goes on; it is on the disk when this returns. The run ends here unless
    /// another step follows. A measurement that is missing is made up for by the step that goes on.
    ///
    /// Errors: `.state` without a run folder, `.io`, `.forked` in a child of the process that made the run.
    public func suspend() throws {
        guard let store else { throw MRPError(.state, "the run has no run_folder to be suspended in") }
        try trainer.loader.checkProcess()
        // After an end there is nothing to go on with, and the model may have its best weights instead of the last.
        if end != .finished, end != .earlyStopping { try save() }
        try store.finish()
        if end == nil { end = .suspended }
    }
}
