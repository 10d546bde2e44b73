import Glibc
import MRPEngine

/// A run's log as comma-separated values, one line a step, with the values that the progress callback sees. A resumed run goes on after the
/// step of its checkpoint: later rows are taken out first.
final class RunLog {
    static let columns =
        ["step", "epoch", "loss", "mean_loss", "learning_rate", "images_per_second", "seconds"] + TrainingProgress.measureNames

    let path: String
    private var descriptor: Int32 = -1
    /// The step of the last row.
    private var last: Int

    /// Errors: `.io`.
    init(_ path: String, after step: Int) throws {
        self.path = path
        last = step
        var text = Array((Self.columns.joined(separator: ",") + "\n").utf8)
        if access(path, F_OK) == 0 { text += try Self.rows(of: path, through: step) }
        try text.withUnsafeBytes { try FileSystem.replace(path, with: [$0]) }
        descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot open", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// The rows up to a step, each step once; a row that is not whole is left out.
    private static func rows(of path: String, through step: Int) throws -> [UInt8] {
        let (newline, comma, carriageReturn) = (UInt8(ascii: "\n"), UInt8(ascii: ","), UInt8(ascii: "\r"))
        let file = try FileBytes(path: path)
        // The bytes belong to the file object, which must not go before they are copied.
        return withExtendedLifetime(file) {
            var (kept, last): ([UInt8], Int) = ([], 0)
            for line in file.bytes.split(separator: newline).dropFirst() {
                let row = line.last == carriageReturn ? line.dropLast() : line
                guard row.reduce(0, { $0 + ($1 == comma ? 1 : 0) }) == columns.count - 1,
                    let done = Int(String(decoding: row.prefix { $0 != comma }, as: UTF8.self)), done > last, done <= step
                else { continue }
                kept += row
                kept.append(newline)
                last = done
            }
            return kept
        }
    }

    /// Adds a line for the step that is done, once. `measured`: whether the measures are of this step; they are left empty otherwise.
    func add(_ progress: TrainingProgress, measured: Bool) throws {
        guard progress.step > last else { return }
        let values = Self.columns.map { name -> String in
            if TrainingProgress.measureNames.contains(name), !measured { return "" }
            guard let value = progress.value(name) else { return "" }
            return name == "step" ? String(progress.step) : "\(value)"
        }
        try FileSystem.append(Array((values.joined(separator: ",") + "\n").utf8), to: descriptor, path)
        last = progress.step
    }

    /// Returns when the rows are on the disk.
    func synchronize() throws { try FileSystem.synchronize(descriptor, path) }
}
