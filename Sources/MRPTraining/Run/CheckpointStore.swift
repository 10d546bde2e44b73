import Glibc
import MRPEngine
import MRPOptions

/// The checkpoints of one run in a folder: `pretrain-00000120.ckpt` after step 120, and `pretrain-best.ckpt`.
///
/// The newest `keep` are kept. An older one is deleted only when a newer one is complete on the disk, so that whenever the process dies at
/// least one can be read. One run at a time uses the folder: it holds a lock there, which the system takes back when the process ends.
final class CheckpointStore {
    let folder: String
    private let phase: Phase
    private let keep: Int
    private let lock: FileLock
    private let writer = BackgroundWriter()
    /// The step whose checkpoint is being written.
    private var pending: Int?
    /// The step of the newest checkpoint, on the disk or on the way to it; nil where that would be another state, or failed.
    var newest: Int?

    /// Creates the folder where there is none. Errors: `.io`, `.state` when another run uses it.
    init(_ folder: String, _ phase: Phase, keep: Int) throws {
        self.folder = folder.hasSuffix("/") ? folder : folder + "/"
        self.phase = phase
        self.keep = keep
        try FileSystem.makeFolder(folder)
        let descriptor = open(self.folder + "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot create", self.folder + "lock") }
        lock = try FileLock(descriptor, inUse: "run_folder '\(folder)' is in use by another run")
        for name in try FileSystem.names(in: folder) where name.hasPrefix(phase.rawValue) && name.hasSuffix(FileSystem.temporarySuffix) {
            unlink(self.folder + name)  // left by a process that was killed: nobody else writes here
        }
    }

    // The lock goes after the last write.
    deinit { try? writer.finish() }

    func path(step: Int) -> String {
        let digits = String(step)
        return "\(folder)\(phase.rawValue)-\(String(repeating: "0", count: max(0, 8 - digits.count)))\(digits).ckpt"
    }

    var bestPath: String { "\(folder)\(phase.rawValue)-best.ckpt" }
    /// The state to which numbers that are not finite lead back.
    var rollbackPath: String { "\(folder)\(phase.rawValue)-rollback.ckpt" }
    var logPath: String { "\(folder)\(phase.rawValue).csv" }
    /// Folder of the event files. Each phase has its own: TensorBoard takes a folder for one run.
    var eventsPath: String { "\(folder)\(phase.rawValue)/" }

    /// The steps that have a checkpoint, newest first.
    func steps() throws -> [Int] {
        let prefix = phase.rawValue + "-"
        return try FileSystem.names(in: folder).compactMap { name in
            guard name.hasPrefix(prefix), name.hasSuffix(".ckpt") else { return nil }
            guard let step = Int(name.dropFirst(prefix.count).dropLast(5)), step >= 0, folder + name == path(step: step) else { return nil }
            return step
        }.sorted(by: >)
    }

    /// The newest checkpoint that is whole, and the steps of newer ones, which are damaged: their bytes or their checksum are wrong. nil where
    /// there is none at all. Errors: `.state` when all are damaged; `.io`.
    func newestWhole() throws -> (file: SafetensorsFile, step: Int, damaged: [Int], notes: [String])? {
        var (damaged, notes): ([Int], [String]) = ([], [])
        for step in try steps() {
            do {
                let file = try SafetensorsFile(path: path(step: step))
                if Checkpoint.isMarked(file) { try file.verifyChecksum() }
                return (file, step, damaged, notes)
            } catch let error as MRPError where error.code == .format {
                damaged.append(step)
                notes.append("left out: \(error.message)")
            }
        }
        guard let first = damaged.first else { return nil }
        throw MRPError(
            .state,
            "run_folder '\(folder)' has no checkpoint that is whole (\(notes[0]); \(damaged.count) in all): delete '\(path(step: first))' and what else is damaged to begin anew, or choose another folder"
        )
    }

    /// Gives a damaged checkpoint a name under which it is not found again, and that no file has.
    func setAside(step: Int) {
        let names = (1...1_000).lazy.map { self.path(step: step) + ".damaged" + ($0 == 1 ? "" : "-\($0)") }
        guard let free = names.first(where: { access($0, F_OK) != 0 }) else { return }
        rename(path(step: step), free)
    }

    /// Writes a checkpoint: in the background when there is memory for a copy of the state, else now. Errors: `.io`, also of the one before.
    func save(_ encoded: Safetensors.Encoded, step: Int) throws {
        try finish()
        newest = nil
        if let copy = try? encoded.copied() {
            pending = step
            try writer.write(copy, to: path(step: step))
        } else {
            try FileSystem.replace(path(step: step), with: encoded.pieces)
            try prune()
        }
        newest = step
    }

    /// Deletes the checkpoints of later steps.
    func forget(after step: Int) throws {
        for later in try steps() where later > step { unlink(path(step: later)) }
    }

    /// Errors of a finished write in the background, without waiting for one that runs.
    func check() throws {
        if pending != nil, !writer.isBusy { try finish() }
    }

    /// Waits until everything is on the disk, then deletes what is too old.
    func finish() throws {
        guard pending != nil else { return }
        pending = nil
        do {
            try writer.finish()
        } catch {
            newest = nil
            throw error
        }
        try prune()
    }

    /// Deletes what is too old; the newest must be known to be whole.
    func prune() throws {
        for step in try steps().dropFirst(keep) { unlink(path(step: step)) }
    }
}
