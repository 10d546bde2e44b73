import MRPData
import MRPEngine
import MRPModels

/// A training run with what belongs to it beyond its steps: checkpoints and logs in a folder, measurements on held-out images, early
/// stopping, a way back from numbers that are not finite, a time budget, a limit of memory.
///
/// With a `run_folder` the run goes on where the newest complete checkpoint there left off, with the same bits as if it had not been stopped.
public final class TrainingRun {
    /// Why a run has ended.
    public enum End: String, Sendable {
        case finished = "all steps are done"
        case timeBudget = "the time budget is used up"
        case earlyStopping = "the measurements have not become better"
    }

    public let trainer: Trainer
    public private(set) var end: End?
    public var progress: TrainingProgress { trainer.progress }

    private let options: Options
    private let store: CheckpointStore?
    private let best: KeptState
    private let rollback: KeptState
    private var log: RunLog?
    private let events: EventLog?
    private let measurement: Measurement?
    private var record = MeasurementRecord()
    /// A step is done whose measurement is not: the run was cancelled in between.
    private var owesMeasurement = false
    private var notes: [String] = []
    private var unreadableCount = 0
    private var rollbacks = 0
    private let start = monotonicSeconds()
    private var savedAt = monotonicSeconds()
    private var savedStep = -1

    /// - validation: images on which the run is measured; nil: it is not.
    public init(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase, validation: Validation? = nil,
        cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil
    ) throws {
        self.options = options
        let trainer = try MemoryLimit.trainer(model, dataset, options, phase, cancel: cancel, poll: poll)
        self.trainer = trainer
        measurement = try validation.map {
            try Measurement($0, phase, options, model, steps: trainer.progress.steps, stepsPerEpoch: trainer.stepsPerEpoch)
        }
        if measurement == nil, options.integer("early_stopping") > 0 {
            notes.append("early_stopping: there are no held-out images to go by")
        }
        let folder = options.choice("run_folder")
        let store = folder.isEmpty ? nil : try CheckpointStore(folder, phase, keep: options.integer("keep_checkpoints"))
        self.store = store
        best = KeptState("state of the best measurement", path: store?.bestPath)
        rollback = KeptState("state to roll back to", path: store?.rollbackPath)
        guard let store else {
            events = nil
            try keepRollback(always: true)
            return
        }
        let found = try Self.resume(trainer, from: store, continues: options.flag("continue_run"))
        notes += found.notes
        savedStep = found.step
        log = try RunLog(store.logPath, after: trainer.progress.step)
        events = options.flag("tensorboard") ? try EventLog(store.folder, phase, after: trainer.progress.step) : nil
        takeState()
        if hasLostPatience {
            end = .earlyStopping
            try trainer.takeAverages()
            try restoreBest()
        }
        // Also where a run goes on that did not keep one before.
        if trainer.progress.step == 0 || !rollback.holds(step: trainer.progress.step) { try keepRollback(always: true) }
    }

    /// Goes on from the newest checkpoint that is whole. A damaged one is set aside under another name.
    private static func resume(_ trainer: Trainer, from store: CheckpointStore, continues: Bool) throws -> (step: Int, notes: [String]) {
        var notes: [String] = []
        for step in try store.steps() {
            guard continues else {
                throw MRPError(.state, "run_folder '\(store.folder)' has checkpoints: set continue_run, or choose another folder")
            }
            do {
                try trainer.resume(from: store.path(step: step))
                try store.prune()
                notes.append("goes on from '\(store.path(step: step))'")
                return (step, notes)
            } catch let error as MRPError where error.code == .format {
                notes.append("left out: \(error.message)")
                store.setAside(step: step)
            }
        }
        return (-1, notes)
    }

    /// What is worth a line in the log since the last call: where the run went on, images left out, measurements, ways back.
    public func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    // MARK: A step

    /// One step and what follows it. Errors: those of `Trainer.step`, `.io` of checkpoints and logs. A step that is cancelled while the
    /// held-out images are measured is done; the next call measures them.
    public func step(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) throws -> Trainer.Outcome {
        guard end == nil else { return .finished }
        try store?.check()
        if !owesMeasurement {
            switch try stepOrRollBack(cancel: cancel, poll: poll) {
            case .cancelled: return .cancelled
            case .finished:
                end = .finished
                try restoreBest()
                try store?.finish()
                return .finished
            case .stepped: owesMeasurement = isMeasurementDue
            }
        }
        let isMeasured = owesMeasurement
        if owesMeasurement {
            guard try measure(cancel: cancel, poll: poll) else { return .cancelled }
            owesMeasurement = false
        }
        noteUnreadableImages()
        try log?.add(progress, measured: isMeasured)
        try events?.add(progress.scalars(measured: isMeasured), phase: progress.phase, step: progress.step)
        decideOnEnd()
        if end != nil || isCheckpointDue { try save() }
        if end == .earlyStopping { try trainer.takeAverages() }
        if end != nil, end != .timeBudget { try restoreBest() }
        try keepRollback()
        if end != nil { try store?.finish() }
        return .stepped
    }

    private var hasLostPatience: Bool {
        let patience = options.integer("early_stopping")
        return patience > 0 && record.withoutBetter >= patience
    }

    private func decideOnEnd() {
        if progress.step == progress.steps {
            end = .finished
        } else if hasLostPatience {
            end = .earlyStopping
        } else if options.number("time_budget") > 0, monotonicSeconds() - start >= options.number("time_budget") {
            end = .timeBudget
        }
        if let end, end != .finished { notes.append("stopped after step \(progress.step): \(end.rawValue)") }
    }

    private func noteUnreadableImages() {
        let found = trainer.loader.unreadable
        guard found.count != unreadableCount else { return }
        for (_, message) in found.sorted(by: { $0.key < $1.key }).suffix(found.count - unreadableCount) {
            notes.append("left out: \(message)")
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
        let isBest = record.add(found, main: measurement.main, step: progress.step)
        putState()
        notes.append("step \(progress.step): " + found.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", "))
        if isBest, store != nil || options.flag("restore_best") { try best.save(trainer) }
        return true
    }

    /// Gives the model the weights of the best measurement at the end of a run, where the options ask for it.
    private func restoreBest() throws {
        guard options.flag("restore_best"), record.best != nil, record.bestStep != progress.step else { return }
        guard best.holds(step: record.bestStep) else {
            notes.append("the best weights, of step \(record.bestStep), were not kept: the model has those of step \(progress.step)")
            return
        }
        try store?.finish()
        try trainer.takeWeights(from: best.open())
        notes.append("the model has the weights of step \(record.bestStep)")
    }

    // MARK: The state beyond the steps

    private func putState() {
        trainer.runState = .object([
            ("measurements", record.json), ("rate_scale", .number(trainer.rateScale)), ("rollbacks", .integer(rollbacks)),
        ])
        trainer.progress.measures.merge(record.values) { $1 }
        trainer.progress.measures["best"] = record.best
        trainer.progress.measures["best_step"] = record.best.map { _ in Double(record.bestStep) }
        trainer.progress.measures["rollbacks"] = Double(rollbacks)
    }

    private func takeState() {
        guard let state = trainer.runState else { return }
        record = state["measurements"].map { MeasurementRecord($0) } ?? MeasurementRecord()
        trainer.rateScale = state["rate_scale"]?.number ?? 1
        rollbacks = state["rollbacks"]?.integer ?? 0
        putState()
    }

    // MARK: Back from numbers that are not finite

    private func stepOrRollBack(cancel: UnsafePointer<Int32>?, poll: (() -> Void)?) throws -> Trainer.Outcome {
        while true {
            do {
                return try trainer.step(cancel: cancel, poll: poll)
            } catch let error as MRPError where error.code == .numeric && rollbacks < options.integer("rollbacks") {
                try rollBack(after: error)
            }
        }
    }

    /// Keeps the state where it is due, after a multiple of `rollback_steps`.
    private func keepRollback(always: Bool = false) throws {
        guard options.integer("rollbacks") > 0, always || progress.step % options.integer("rollback_steps") == 0 else { return }
        try rollback.save(trainer)
    }

    /// To the last kept state; from there with a lower learning rate.
    private func rollBack(after error: MRPError) throws {
        let (scale, count) = (trainer.rateScale * options.number("rollback_factor"), rollbacks + 1)
        try store?.finish()
        try trainer.resume(from: rollback.open())
        takeState()
        (trainer.rateScale, rollbacks) = (scale, count)
        putState()
        notes.append("rolled back to step \(progress.step), learning rate times \(scale): \(error.message)")
        if let store {
            savedStep = -1
            try save()
            try store.finish()
            try store.forget(after: progress.step)
            log = try RunLog(store.logPath, after: progress.step)
        }
        try keepRollback(always: true)
    }

    // MARK: Checkpoints

    private var isCheckpointDue: Bool {
        let (steps, seconds) = (options.integer("checkpoint_steps"), options.number("checkpoint_seconds"))
        if steps > 0, progress.step % steps == 0 { return true }
        return seconds > 0 && monotonicSeconds() - savedAt >= seconds
    }

    private func save() throws {
        guard let store, progress.step != savedStep else { return }
        try store.save(trainer.encodedState(), step: progress.step)
        (savedAt, savedStep) = (monotonicSeconds(), progress.step)
    }

    /// Continues a state that was saved elsewhere than in the run folder. Errors: as of `Trainer.resume`.
    public func resume(from path: String) throws {
        try trainer.resume(from: path)
        (end, owesMeasurement, savedStep) = (nil, false, -1)
        takeState()
        if let store { log = try RunLog(store.logPath, after: progress.step) }
        try keepRollback(always: true)
    }

    /// Writes the state before the run is given up for now; it is on the disk when this returns. A step whose measurement is missing is
    /// not written: it will be done again.
    public func suspend() throws {
        if !owesMeasurement { try save() }
        try store?.finish()
    }
}
