import Glibc
import MRPEngine

/// A CSV file that grows row by row, for one study at a time. A file that does not begin with the study's header is left as it is; of one that
/// does, a last line that was cut off while it was written is dropped before more is added. Line ends stay as the header has them.
final class StudyFile {
    let path: String
    /// Complete rows that the file held when it was opened, without the header.
    let rows: [String]
    private let lock: FileLock
    private let header: String
    private let lineEnd: String
    /// Bytes of the complete lines, and of all.
    private var end: Int
    private var size: Int

    /// Errors: `io`, `state` when another study uses the file, `format` when it is another file.
    init(path: String, header: String) throws {
        self.path = path
        let descriptor = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NONBLOCK, 0o666)
        guard descriptor >= 0 else { throw Self.failure("cannot open", path) }
        lock = try FileLock(descriptor, inUse: "'\(path)' is in use by another study")
        let memory = try Self.read(descriptor, path)
        let bytes = UnsafeRawBufferPointer(memory.raw)
        let (newline, carriageReturn) = (UInt8(ascii: "\n"), UInt8(ascii: "\r"))
        (rows, lineEnd, end) = try withExtendedLifetime(memory) {
            func text(_ line: UnsafeRawBufferPointer.SubSequence) -> String {
                String(decoding: line.last == carriageReturn ? line.dropLast() : line, as: UTF8.self)
            }
            let last = bytes.lastIndex(of: newline)
            let first = bytes.prefix { $0 != newline }
            // Without a whole line it may be a header that was cut off.
            guard last == nil ? header.utf8.starts(with: first) : first.elementsEqual(header.utf8) || text(first) == header else {
                throw MRPError(.format, "'\(path)' is not a file of this study: its first line is not '\(header)'")
            }
            guard let last else { return ([], "\n", 0) }
            let lines = bytes[first.endIndex...last].split(separator: newline).map(text)
            return (lines, first.last == carriageReturn ? "\r\n" : "\n", last + 1)
        }
        self.header = header
        size = bytes.count
    }

    /// Drops what was cut off, and writes the header where there is none. To be called when the rows are known to be the study's.
    func mend() throws {
        if end < size {
            guard ftruncate(lock.descriptor, off_t(end)) == 0 else { throw Self.failure("cannot shorten", path) }
            size = end
        }
        if end == 0 { try append([header]) }
    }

    /// Adds lines and makes them durable; all of them, or after an error none.
    func append(_ lines: [String]) throws {
        let text = Array(lines.map { $0 + lineEnd }.joined().utf8)
        var written = 0
        while written < text.count {
            let count = text[written...].withUnsafeBytes { write(lock.descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                let error = Self.failure("cannot write", path)
                _ = ftruncate(lock.descriptor, off_t(end))
                throw error
            }
            written += count
        }
        guard fsync(lock.descriptor) == 0 else { throw Self.failure("cannot write", path) }
        (end, size) = (end + text.count, end + text.count)
    }

    private static func read(_ descriptor: Int32, _ path: String) throws -> Memory {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("cannot read", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw MRPError(.io, "'\(path)' is not a regular file") }
        guard status.st_size <= 1 << 30 else { throw MRPError(.format, "'\(path)' is larger than a study can be") }
        let memory = try Memory(bytes: Int(status.st_size), for: "'\(path)'")
        var position = 0
        while position < memory.bytes {
            let count = pread(descriptor, memory.base + position, memory.bytes - position, off_t(position))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("cannot read", path) }
            position += count
        }
        return memory
    }

    private static func failure(_ what: String, _ path: String) -> MRPError {
        MRPError(.io, "\(what) '\(path)': \(String(cString: strerror(errno)))")
    }
}
