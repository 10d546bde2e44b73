import CMRPKernels
import Glibc
import MRPEngine

/// The bytes of a file, in memory of the library's allocator.
public final class FileBytes {
    private let memory: Memory

    public var bytes: UnsafeMutableRawBufferPointer { memory.raw }

    /// Reads a regular file. Errors (`MRP_ERR_IO`) name the path and the system's reason; `.format` when it has more bytes than the limit.
    public init(path: String, limit: Int = .max) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileSystem.failure("cannot read the size of", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw MRPError(.io, "'\(path)' is not a regular file") }
        let size = Int(status.st_size)
        guard size <= limit else { throw MRPError(.format, "'\(path)' has \(size) bytes, which is over the limit of \(limit)") }
        memory = try Memory(bytes: size, for: "'\(path)'")
        var position = 0
        while position < size {
            let count = read(descriptor, memory.base + position, size - position)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw FileSystem.failure("cannot read", path) }
            guard count > 0 else { throw MRPError(.io, "'\(path)' ended at byte \(position) of \(size)") }
            position += count
        }
    }
}

public enum FileSystem {
    static func failure(_ what: String, _ path: String) -> MRPError {
        MRPError(.io, "\(what) '\(path)': \(String(cString: strerror(errno)))")
    }

    /// Replaces a file as a whole: a new file in the same folder, written, synchronised, renamed over the old one, and the
    /// folder synchronised. After any failure the old file is as it was, or the new one is complete, and no temporary file is left.
    ///
    /// A link stays one: what it leads to is replaced. Permissions stay those of the old file. Errors (`.io`): also where there is something
    /// else than a file, such as a device or a pipe.
    public static func replace(_ path: String, with pieces: [UnsafeRawBufferPointer]) throws {
        let (place, old) = try destination(of: path)
        let (temporary, descriptor) = try createTemporary(for: place, replacing: old)
        do {
            for piece in pieces { try writeInterruptibly(piece, to: descriptor, path) }
            try synchronize(descriptor, path)
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        // After EINTR the descriptor is closed all the same; the data are on the disk already.
        guard close(descriptor) == 0 || errno == EINTR, repeating({ rename(temporary, place) }) == 0 else {
            let error = failure("cannot write", path)
            unlink(temporary)
            throw error
        }
        try synchronizeFolder(of: place)
    }

    /// The place that a path leads to through links, and the file that is there.
    private static func destination(of path: String) throws -> (path: String, old: stat?) {
        var place = path
        for _ in 0..<40 {
            var status = stat()
            guard repeating({ lstat(place, &status) }) == 0 else {
                guard errno == ENOENT else { throw failure("cannot write", path) }
                return (place, nil)
            }
            switch status.st_mode & S_IFMT {
            case S_IFREG: return (place, status)
            case S_IFLNK: place = try destination(ofLink: place, path)
            default: throw MRPError(.io, "cannot write '\(path)': it is not a regular file")
            }
        }
        errno = ELOOP
        throw failure("cannot write", path)
    }

    private static func destination(ofLink link: String, _ path: String) throws -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = readlink(link, &buffer, Int(PATH_MAX))
        guard count >= 0 else { throw failure("cannot read the link", path) }
        let target = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return target.hasPrefix("/") ? target : (link.lastIndex(of: "/").map { String(link[...$0]) } ?? "") + target
    }

    private static func writeInterruptibly(_ piece: UnsafeRawBufferPointer, to descriptor: Int32, _ path: String) throws {
        let step = 4 << 20
        for first in stride(from: 0, to: piece.count, by: step) {
            try Interruption.check()
            try write(UnsafeRawBufferPointer(rebasing: piece[first..<min(first + step, piece.count)]), to: descriptor, path)
        }
    }

    /// Suffix of the temporary files that a killed process may leave behind.
    static let temporarySuffix = ".tmp"

    /// A new file beside `path`, under a name that no other thread or process uses, with the owner and the permissions of the old file as far as
    /// this process may give them, never with wider ones.
    private static func createTemporary(for path: String, replacing old: stat?) throws -> (path: String, descriptor: Int32) {
        for attempt in 0..<1_000 {
            let temporary = temporaryPath(path, attempt)
            let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, old == nil ? 0o666 : 0o600)
            if descriptor >= 0 {
                if let old {
                    if old.st_uid != geteuid() || old.st_gid != getegid() { _ = fchown(descriptor, old.st_uid, old.st_gid) }
                    _ = fchmod(descriptor, old.st_mode & 0o7777)
                }
                return (temporary, descriptor)
            }
            guard errno == EEXIST || errno == EINTR else { throw failure("cannot create", temporary) }
        }
        throw MRPError(.io, "cannot create a temporary file beside '\(path)': 1000 names are taken")
    }

    /// The file's name, shortened where the system would not take it with the suffix.
    private static func temporaryPath(_ path: String, _ attempt: Int) -> String {
        let suffix = ".\(getpid())-\(attempt)\(temporarySuffix)"
        let folder = path.lastIndex(of: "/").map { path[...$0] } ?? ""
        let name = path.utf8.dropFirst(folder.utf8.count)
        guard name.count + suffix.utf8.count > Int(NAME_MAX) else { return path + suffix }
        var short = Substring(name.prefix(Int(NAME_MAX) - suffix.utf8.count))
        // Not within a character.
        while let last = short.utf8.last, last & 0xc0 == 0x80 { short = Substring(short.utf8.dropLast()) }
        if let last = short.utf8.last, last & 0x80 != 0 { short = Substring(short.utf8.dropLast()) }
        return folder + short + suffix
    }

    private static func repeating(_ call: () -> Int32) -> Int32 {
        var result = call()
        while result != 0, errno == EINTR { result = call() }
        return result
    }

    /// Adds a record to a file that is open for appending: all of it, or after a failure nothing.
    static func append(_ record: [UInt8], to descriptor: Int32, _ path: String) throws {
        let end = lseek(descriptor, 0, SEEK_END)
        do {
            try record.withUnsafeBytes { try write($0, to: descriptor, path) }
        } catch {
            _ = ftruncate(descriptor, end)
            throw error
        }
    }

    /// Returns when what was written is on the disk.
    static func synchronize(_ descriptor: Int32, _ path: String) throws {
        guard repeating({ fsync(descriptor) }) == 0 else { throw failure("cannot write", path) }
    }

    static func write(_ piece: UnsafeRawBufferPointer, to descriptor: Int32, _ path: String) throws {
        guard let start = piece.baseAddress else { return }
        var position = 0
        while position < piece.count {
            errno = ENOSPC  // what a write of no bytes without an error would mean
            let count = Glibc.write(descriptor, start + position, piece.count - position)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw failure("cannot write", path) }
            position += count
        }
    }

    /// Makes a folder where there is none. Errors: `.io`.
    static func makeFolder(_ path: String) throws {
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw failure("cannot create the folder", path) }
    }

    /// The names in a folder.
    static func names(in folder: String) throws -> [String] {
        guard let stream = opendir(folder) else { throw failure("cannot read the folder", folder) }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: MemoryLayout.size(ofValue: $0.pointee)) { String(cString: $0) }
                })
        }
        return names
    }

    static func folder(of path: String) -> String { path.lastIndex(of: "/").map { String(path[...$0]) } ?? "." }

    /// Makes the rename durable. Folders that may not be read, and file systems that cannot synchronise a folder, are no error.
    private static func synchronizeFolder(of path: String) throws {
        let folder = folder(of: path)
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == EACCES { return }
            throw failure("cannot synchronise the folder of", path)
        }
        defer { close(descriptor) }
        guard repeating({ fsync(descriptor) }) == 0 || errno == EINVAL || errno == ENOTSUP || errno == EROFS else {
            throw failure("cannot synchronise the folder of", path)
        }
    }
}
