import Glibc
import MRPEngine

/// A run's log as comma-separated values, one line a step, with the values that the progress callback sees. A resumed run goes on after the
/// step of its checkpoint: later rows are taken out first. Columns that the file has and this version does not know stay, empty in new rows;
/// so do its line ends.
final class RunLog {
    static let columns =
        ["step", "epoch", "loss", "mean_loss", "learning_rate", "images_per_second", "seconds"] + TrainingProgress.measureNames

    let path: String
    private let columns: [String]
    private let lineEnd: String
    private var descriptor: Int32 = -1
    /// The step of the last row.
    private var last: Int

    /// Errors: `.io`; `.state` when the file is no log, which is left as it is.
    init(_ path: String, after step: Int) throws {
        self.path = path
        last = step
        let rows: [UInt8]
        (columns, lineEnd, rows) = try Self.content(of: path, through: step)
        let text = Array((columns.joined(separator: ",") + lineEnd).utf8) + rows
        try text.withUnsafeBytes { try FileSystem.replace(path, with: [$0]) }
        descriptor = open(path, O_WRONLY | O_APPEND | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot open", path) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Refuses a file that is no log, before anything else is changed. Errors: as of `init`.
    static func check(_ path: String) throws { _ = try content(of: path, through: 0) }

    /// The columns of a file and its rows up to a step, each step once; a row that is not whole is left out.
    private static func content(of path: String, through step: Int) throws -> (columns: [String], lineEnd: String, rows: [UInt8]) {
        let (newline, comma, carriageReturn) = (UInt8(ascii: "\n"), UInt8(ascii: ","), UInt8(ascii: "\r"))
        guard access(path, F_OK) == 0 else { return (columns, "\n", []) }
        let file = try FileBytes(path: path)
        // The bytes belong to the file object, which must not go before they are copied.
        return try withExtendedLifetime(file) {
            let whole = file.bytes.lastIndex(of: newline).map { file.bytes[...$0] } ?? file.bytes[...]
            let lines = whole.split(separator: newline)
            guard let header = lines.first else { return (columns, "\n", []) }
            let lineEnd = header.last == carriageReturn ? "\r\n" : "\n"
            let known = String(decoding: header.last == carriageReturn ? header.dropLast() : header, as: UTF8.self)
                .trimmingPrefix("\u{FEFF}").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
            guard known.first == columns[0] else {
                throw MRPError(
                    .state, "'\(path)' is not the log of a run, which would begin with '\(columns[0])': choose another run_folder")
            }
            let all = known + columns.filter { !known.contains($0) }
            var (rows, last): ([UInt8], Int) = ([], 0)
            for line in lines.dropFirst() {
                let row = line.last == carriageReturn ? line.dropLast() : line
                guard let done = Int(String(decoding: row.prefix { $0 != comma }, as: UTF8.self)), done > last, done <= step else {
                    continue
                }
                let fields = row.reduce(1) { $0 + ($1 == comma ? 1 : 0) }
                rows += row
                rows += repeatElement(comma, count: max(all.count - fields, 0))
                rows += lineEnd.utf8
                last = done
            }
            return (all, lineEnd, rows)
        }
    }

    /// Adds a line for the step that is done, once. `measured`: whether the measures are of this step; they are left empty otherwise.
    func add(_ progress: TrainingProgress, measured: Bool) throws {
        guard progress.step > last else { return }
        let values = columns.map { name -> String in
            if TrainingProgress.measureNames.contains(name), !measured { return "" }
            guard Self.columns.contains(name), let value = progress.value(name) else { return "" }
            return name == "step" ? String(progress.step) : "\(value)"
        }
        try FileSystem.append(Array((values.joined(separator: ",") + lineEnd).utf8), to: descriptor, path)
        last = progress.step
    }

    /// Returns when the rows are on the disk.
    func synchronize() throws { try FileSystem.synchronize(descriptor, path) }
}
