import Glibc
import MRPEngine

/// The bytes of a file, mapped for reading: pages come from the disk when they are read, and cost no memory of the process.
final class FileMapping {
    let bytes: UnsafeRawBufferPointer

    /// Maps a regular file. Errors (`MRP_ERR_IO`) name the path and the system's reason.
    init(path: String) throws {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileSystem.failure("cannot open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw FileSystem.failure("cannot read the size of", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw MRPError(.io, "'\(path)' is not a regular file") }
        guard status.st_size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        let memory = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, descriptor, 0)
        guard let memory, memory != MAP_FAILED else {
            guard errno != ENOMEM else { throw MRPError(.memory, "cannot map the \(status.st_size) bytes of '\(path)'") }
            throw FileSystem.failure("cannot map", path)
        }
        bytes = UnsafeRawBufferPointer(start: memory, count: Int(status.st_size))
    }

    deinit {
        if let start = bytes.baseAddress { munmap(UnsafeMutableRawPointer(mutating: start), bytes.count) }
    }
}
