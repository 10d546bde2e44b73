import Glibc

/// A folder that goes away, with all that is in it, when nobody holds it any more.
public final class TemporaryFolder {
    /// Something that the system refused.
    public struct Failure: Error {
        public let what: String
        public let reason: String
    }

    public let path: String

    public init() throws {
        var template = Array("/tmp/mrp-test-XXXXXX".utf8CString)
        guard let made = mkdtemp(&template) else { throw Self.failure("mkdtemp") }
        path = String(cString: made)
    }

    deinit { Self.remove(path) }

    public func file(_ name: String) -> String { path + "/" + name }

    /// The names of the files and folders in it, or in a folder in it, sorted.
    public func names(in folder: String = ".") throws -> [String] {
        guard let names = Self.names(file(folder)) else { throw Self.failure("opendir") }
        return names
    }

    /// Writes a file; folders before its name are made.
    public func write(_ name: String, _ bytes: [UInt8]) throws {
        if let slash = name.lastIndex(of: "/") { try makeFolder(String(name[..<slash])) }
        guard let file = fopen(self.file(name), "wb") else { throw Self.failure("fopen \(name)") }
        defer { fclose(file) }
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count else { throw Self.failure("fwrite \(name)") }
    }

    /// Makes a folder in it, if it is not there.
    public func makeFolder(_ name: String) throws {
        guard mkdir(file(name), 0o755) == 0 || errno == EEXIST else { throw Self.failure("mkdir \(name)") }
    }

    private static func failure(_ what: String) -> Failure { Failure(what: what, reason: String(cString: strerror(errno))) }

    private static func names(_ path: String) -> [String]? {
        guard let folder = opendir(path) else { return nil }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func remove(_ path: String) {
        guard unlink(path) != 0 else { return }
        for name in names(path) ?? [] { remove(path + "/" + name) }
        rmdir(path)
    }
}
