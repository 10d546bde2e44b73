import Glibc
import MRPData
import MRPEngine
import Testing

/// The files of Tests/fixtures/images, made by tools/make_image_fixtures.py.
enum Fixtures {
    static let folder: String = {
        let parts = #filePath.split(separator: "/").dropLast(2)
        return "/" + parts.joined(separator: "/") + "/fixtures/images/"
    }()

    static func bytes(_ name: String) throws -> [UInt8] {
        let file = try #require(fopen(folder + name, "rb"), "\(folder + name)")
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let got = fread(&buffer, 1, buffer.count, file)
            if got == 0 { return bytes }
            bytes += buffer[..<got]
        }
    }

    /// Lines of index.txt that begin with `kind`, split into words.
    static func cases(_ kind: String) throws -> [[String]] {
        String(decoding: try bytes("index.txt"), as: UTF8.self).split(separator: "\n")
            .map { $0.split(separator: " ").map(String.init) }.filter { $0.first == kind }.map { Array($0.dropFirst()) }
    }

    /// The arrays in expected.bin by name.
    static func arrays() throws -> [String: [UInt8]] {
        let all = try bytes("expected.bin")
        var at = 0
        var table: [(String, Int)] = []
        while all[at] != 10 {
            let end = all[at...].firstIndex(of: 10)!
            let words = String(decoding: all[at..<end], as: UTF8.self).split(separator: " ")
            table.append((String(words[0]), Int(words[1])!))
            at = end + 1
        }
        at += 1
        var arrays: [String: [UInt8]] = [:]
        for (name, count) in table {
            arrays[name] = Array(all[at..<at + count])
            at += count
        }
        #expect(at == all.count)
        return arrays
    }

    /// Raw little-endian values as floats.
    static func values(_ bytes: [UInt8], _ type: PixelType) -> [Float] {
        bytes.withUnsafeBytes { raw in
            (0..<bytes.count / type.bytes).map {
                switch type {
                case .uint8: return Float(raw[$0])
                case .uint16: return Float(raw.loadUnaligned(fromByteOffset: 2 * $0, as: UInt16.self))
                case .float32: return raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self)
                }
            }
        }
    }
}
