import CMRPKernels
import Glibc
import MRPEngine

/// Compiled programs in a folder, by content: the name of a file is a hash of all that the program was made of. A file that cannot be read or
/// written is none: the program is compiled then.
public struct ExecutableCache {
    private let folder: String
    private let path: String
    private static let header: [UInt8] = Array("MRPX0001".utf8)

    init(folder: String, key: [String]) {
        var (first, second) = (UInt64(0xcbf2_9ce4_8422_2325), UInt64(0x9ae1_6a3b_2f90_404f))
        for part in key {
            for byte in part.utf8 {
                first = (first ^ UInt64(byte)) &* 0x100_0000_01b3
                second = (second ^ UInt64(byte)) &* 0x9fb2_1c65_1e98_df25
                second ^= second >> 29
            }
            first = (first ^ 0x100) &* 0x100_0000_01b3
            second = (second ^ 0x100) &* 0x9fb2_1c65_1e98_df25
        }
        func digits(_ number: UInt64) -> String {
            let text = String(number, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }
        self.folder = folder
        path = "\(folder)/\(digits(first))\(digits(second)).pjrt"
    }

    /// The bytes of the executable; nil when there is no whole file.
    func read() -> Memory? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat()
        let start = Self.header.count + 4
        guard fstat(file, &status) == 0, status.st_size > start,
            let memory = try? Memory(bytes: Int(status.st_size), for: "a compiled program")
        else { return nil }
        var done = 0
        while done < memory.bytes {
            let count = Glibc.read(file, memory.base + done, memory.bytes - done)
            guard count > 0 else { return nil }
            done += count
        }
        let crc = memory.base.loadUnaligned(fromByteOffset: Self.header.count, as: UInt32.self)
        guard memory.raw.prefix(Self.header.count).elementsEqual(Self.header),
            mk_crc32c(0, memory.base + start, Int64(memory.bytes - start)) == crc,
            let body = try? Memory(bytes: memory.bytes - start, for: "a compiled program")
        else { return nil }
        body.base.copyMemory(from: memory.base + start, byteCount: body.bytes)
        return body
    }

    /// Writes a file beside and renames it, so that others see it whole or not at all.
    func write(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        var partial = folder.hasPrefix("/") ? "/" : ""
        for part in folder.split(separator: "/") {
            partial += part + "/"
            mkdir(partial, 0o755)
        }
        let temporary = "\(path).\(getpid())"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { return }
        var crc = mk_crc32c(0, base, Int64(bytes.count))
        let isWhole =
            Glibc.write(file, Self.header, Self.header.count) == Self.header.count && Glibc.write(file, &crc, 4) == 4
            && Self.writeAll(file, bytes)
        if close(file) != 0 || !isWhole || rename(temporary, path) != 0 { unlink(temporary) }
    }

    private static func writeAll(_ file: Int32, _ bytes: UnsafeRawBufferPointer) -> Bool {
        var rest = bytes[...]
        while let base = UnsafeRawBufferPointer(rebasing: rest).baseAddress, !rest.isEmpty {
            let count = Glibc.write(file, base, rest.count)
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }

    /// The folder of the user's caches for this library; nil when there is none.
    public static var standardFolder: String? {
        if let folder = PluginPath.environment("XDG_CACHE_HOME") { return folder + "/mrp" }
        return PluginPath.environment("HOME").map { $0 + "/.cache/mrp" }
    }
}
