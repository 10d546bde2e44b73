import MRPData
import MRPEngine
import MRPModels

/// A training run with what belongs to it beyond its steps: checkpoints and a log in a folder, and a time budget.
///
/// With a `run_folder` the run goes on where the newest complete checkpoint there left off, with the same bits as if it had not been stopped.
public final class TrainingRun {
    /// Why a run has ended.
    public enum End: String, Sendable {
        case finished = "all steps are done"
        case timeBudget = "the time budget is used up"
    }

    public let trainer: Trainer
    public private(set) var end: End?
    /// What was found in the run folder, for the log.
    public private(set) var notes: [String] = []
    public var progress: TrainingProgress { trainer.progress }

    private let store: CheckpointStore?
    private let log: RunLog?
    private let checkpointSteps: Int
    private let checkpointSeconds: Double
    private let timeBudget: Double
    private let start = monotonicSeconds()
    private var savedAt = monotonicSeconds()
    private var savedStep = -1

    public init(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase, cancel: UnsafePointer<Int32>? = nil,
        poll: (() -> Void)? = nil
    ) throws {
        trainer = try Trainer(model, dataset, options, phase, cancel: cancel, poll: poll)
        checkpointSteps = options.integer("checkpoint_steps")
        checkpointSeconds = options.number("checkpoint_seconds")
        timeBudget = options.number("time_budget")
        let folder = options.choice("run_folder")
        guard !folder.isEmpty else {
            (store, log) = (nil, nil)
            return
        }
        let store = try CheckpointStore(folder, phase, keep: options.integer("keep_checkpoints"))
        let found = try Self.resume(trainer, from: store, continues: options.flag("continue_run"))
        notes = found.notes
        savedStep = found.step
        self.store = store
        log = try RunLog("\(store.folder)\(phase.rawValue).csv", after: trainer.progress.step)
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

    /// One step and what follows it. Errors: those of `Trainer.step`, `.io` of checkpoints and logs.
    public func step(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) throws -> Trainer.Outcome {
        guard end == nil else { return .finished }
        try store?.check()
        let outcome = try trainer.step(cancel: cancel, poll: poll)
        switch outcome {
        case .cancelled: return .cancelled
        case .finished: end = .finished
        case .stepped:
            try log?.add(progress, measured: false)
            if progress.step == progress.steps {
                end = .finished
            } else if timeBudget > 0, monotonicSeconds() - start >= timeBudget {
                end = .timeBudget
            }
            if end != nil || isCheckpointDue { try save() }
        }
        if end != nil { try store?.finish() }
        return outcome
    }

    private var isCheckpointDue: Bool {
        if checkpointSteps > 0, progress.step % checkpointSteps == 0 { return true }
        return checkpointSeconds > 0 && monotonicSeconds() - savedAt >= checkpointSeconds
    }

    private func save() throws {
        guard let store, progress.step != savedStep else { return }
        try store.save(trainer.encodedState(), step: progress.step)
        (savedAt, savedStep) = (monotonicSeconds(), progress.step)
    }

    /// Writes the state before the run is given up for now; it is on the disk when this returns.
    public func suspend() throws {
        try save()
        try store?.finish()
    }
}
