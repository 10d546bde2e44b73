import Glibc
import MRPEngine

/// A CSV file that grows row by row. A last line that was cut off while it was written is dropped.
final class StudyFile {
    let path: String
    /// Complete rows that the file held when it was opened, without the header.
    let rows: [String]

    /// Errors: `io`, or `format` when the file has another header.
    init(path: String, header: String) throws {
        self.path = path
        guard let text = try Self.read(path), !text.isEmpty else {
            rows = []
            try append([header])
            return
        }
        let complete = text.last == "\n" ? text[...] : text.lastIndex(of: "\n").map { text[...$0] } ?? ""
        let lines = complete.split(separator: "\n").map(String.init)
        if let first = lines.first, first != header {
            throw MRPError(.format, "'\(path)' is not a file of this study: its columns differ")
        }
        rows = Array(lines.dropFirst())
        if complete.utf8.count < text.utf8.count {
            guard truncate(path, off_t(complete.utf8.count)) == 0 else { throw Self.failure("cannot shorten", path) }
        }
        if lines.isEmpty { try append([header]) }
    }

    /// Adds lines and makes them durable.
    func append(_ lines: [String]) throws {
        guard let file = fopen(path, "ae") else { throw Self.failure("cannot write", path) }
        let text = lines.map { $0 + "\n" }.joined()
        let isWritten = fputs(text, file) >= 0 && fflush(file) == 0 && fsync(fileno(file)) == 0
        let failure = isWritten ? nil : Self.failure("cannot write", path)
        fclose(file)
        if let failure { throw failure }
    }

    private static func read(_ path: String) throws -> String? {
        guard let file = fopen(path, "re") else {
            if errno == ENOENT { return nil }
            throw failure("cannot read", path)
        }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            guard count > 0 else { break }
            bytes += buffer[..<count]
            guard bytes.count <= 1 << 30 else { throw MRPError(.format, "'\(path)' is larger than a study can be") }
        }
        guard ferror(file) == 0 else { throw failure("cannot read", path) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func failure(_ what: String, _ path: String) -> MRPError {
        MRPError(.io, "\(what) '\(path)': \(String(cString: strerror(errno)))")
    }
}
