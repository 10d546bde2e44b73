import Glibc
import MRPEngine

/// A run's log as comma-separated values, one line a step, with the values that the progress callback sees. A resumed run goes on after the
/// step of its checkpoint: what came later is taken out first.
final class RunLog {
    static let columns =
        ["step", "epoch", "loss", "mean_loss", "learning_rate", "images_per_second", "seconds"] + TrainingProgress.measureNames

    let path: String
    private var descriptor: Int32 = -1

    /// Errors: `.io`.
    init(_ path: String, after step: Int) throws {
        self.path = path
        var text = Self.columns.joined(separator: ",") + "\n"
        if access(path, F_OK) == 0 {
            let file = try FileBytes(path: path)
            // The bytes belong to the file object, which must not go before they are copied.
            let old = withExtendedLifetime(file) { String(decoding: file.bytes, as: UTF8.self) }
            for line in old.split(separator: "\n").dropFirst() {
                guard let done = line.split(separator: ",").first.flatMap({ Int($0) }), done <= step else { continue }
                text += line + "\n"
            }
        }
        try Array(text.utf8).withUnsafeBytes { try FileSystem.replace(path, with: [$0]) }
        descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot open", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Adds a line for the step that is done. `measured`: whether the measures are of this step; they are left empty otherwise.
    func add(_ progress: TrainingProgress, measured: Bool) throws {
        let values = Self.columns.map { name -> String in
            if TrainingProgress.measureNames.contains(name), !measured { return "" }
            guard let value = progress.value(name) else { return "" }
            return name == "step" ? String(progress.step) : "\(value)"
        }
        try Array((values.joined(separator: ",") + "\n").utf8).withUnsafeBytes {
            try FileSystem.write($0, to: descriptor, path)
        }
    }
}
