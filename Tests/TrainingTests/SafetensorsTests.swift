import MRPEngine
import MRPModels
import MRPTraining
import TestSupport
import Testing

@Suite struct SafetensorsTests {
    func file(_ header: String, data: Int, length: UInt64? = nil) -> [UInt8] {
        let text = Array(header.utf8)
        let size = length ?? UInt64(text.count)
        return (0..<8).map { UInt8(truncatingIfNeeded: size >> (8 * UInt64($0))) } + text + [UInt8](repeating: 0, count: data)
    }

    func write(_ content: [UInt8], to path: String) throws {
        try content.withUnsafeBytes { try FileSystem.replace(path, with: [$0]) }
    }

    /// A few of each kind; Tests/python/test_defective_files.py has them all.
    static let defects: [(header: String, data: Int, length: UInt64?, expected: String)] = [
        ("", 0, nil, "header length 0 is too small"),
        ("{}", 0, 1 << 40, "over the limit of 100000000"),
        ("{}", 0, 900, "header length 900 exceeds"),
        ("[]", 0, nil, "does not begin with '{'"),
        ("{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, nil, "unknown dtype 'F99'"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, nil, "shape of tensor 'a' holds the negative -1"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, nil, "begins at byte 4, after its end at 0"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, nil, "needs 8 bytes"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4, nil, "too large"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, nil, "a hole"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, nil, "1 bytes after the last tensor"),
        ("{\"__metadata__\":{\"k\":1}}", 0, nil, "metadata 'k' is not a string"),
    ]

    @Test func defectsAreNamed() throws {
        let folder = try TemporaryFolder()
        for defect in Self.defects {
            try write(file(defect.header, data: defect.data, length: defect.length), to: folder.file("bad.safetensors"))
            let error = #expect(throws: MRPError.self) { try SafetensorsFile(path: folder.file("bad.safetensors")) }
            #expect(error?.code == .format, "\(defect.header)")
            #expect(error?.message.contains(defect.expected) == true, "\(defect.header): \(error?.message ?? "")")
        }
    }

    @Test func everyTypeOfNumberIsRead() throws {
        let folder = try TemporaryFolder()
        let header =
            "{\"d\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},\"h\":{\"dtype\":\"F16\",\"shape\":[2],\"data_offsets\":[16,20]},"
            + "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[20,24]},\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[24,32]},"
            + "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[32,36]},\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[36,36]}}"
        var content = file(header, data: 0)
        for value in [1.5, -0.1] { content += withUnsafeBytes(of: value) { Array($0) } }
        content += [0x00, 0x3c, 0x01, 0x80, 0xc0, 0x3f, 0x80, 0xff]  // 1, -2^-24; 1.5, -infinity
        content += [42, 0, 0, 0, 0, 0, 0, 0] + withUnsafeBytes(of: Float(7)) { Array($0) }
        try write(content, to: folder.file("types.safetensors"))
        let opened = try SafetensorsFile(path: folder.file("types.safetensors"))
        func values(_ name: String) throws -> [Float] {
            let entry = try #require(opened.entries[name])
            var result = [Float](repeating: .nan, count: entry.count)
            try result.withUnsafeMutableBufferPointer { try opened.read(entry, into: $0) }
            return result
        }
        #expect(try values("d") == [1.5, -0.1])
        #expect(try values("h") == [1, -0x1p-24])
        #expect(try values("b") == [1.5, -.infinity])
        #expect(try values("s") == [7])
        #expect(try values("e") == [])
        let number = try #require(opened.entries["n"])
        #expect(number.shape == [])
        #expect(try opened.integers(number) == [42])
        #expect(throws: MRPError.self) { try values("n") }
    }

    /// Every half goes to float32 and back; halfway cases go to the even neighbour.
    @Test func halvesAndBfloatsRound() {
        for bits in UInt16.min...UInt16.max where bits & 0x7c00 != 0x7c00 {
            #expect(FloatFormats.half(FloatFormats.float(half: bits)) == bits)
        }
        #expect(FloatFormats.half(.infinity) == 0x7c00)
        #expect(FloatFormats.half(-.infinity) == 0xfc00)
        #expect(FloatFormats.float(half: FloatFormats.half(.nan)).isNaN)
        #expect(FloatFormats.half(1 + 0x1p-11) == 0x3c00)  // a tie, down to even
        #expect(FloatFormats.half(1 + 0x3p-11) == 0x3c02)  // a tie, up to even
        #expect(FloatFormats.half(0x1.ffep-15 + 0x1p-26) == 0x0400)  // the largest subnormal rounds up to a normal number
        #expect(FloatFormats.half(65_519) == 0x7bff)
        for bits in [UInt16(0), 0x8000, 0x3f80, 0x7f7f, 0x0001, 0xff80] {
            #expect(FloatFormats.bfloat(FloatFormats.float(bfloat: bits)) == bits)
        }
        #expect(FloatFormats.bfloat(Float(bitPattern: 0x3f80_8000)) == 0x3f80)
        #expect(FloatFormats.bfloat(Float(bitPattern: 0x3f81_8000)) == 0x3f82)
        #expect(FloatFormats.float(bfloat: FloatFormats.bfloat(.nan)).isNaN)
    }

    @Test func everyTruncationAndBitFlipIsAnErrorOrAModel() throws {
        let folder = try TemporaryFolder()
        let geometry = try PatchGeometry(channels: 1, height: 4, width: 4, patchHeight: 2, patchWidth: 2)
        let encoder = VisionTransformer(geometry: geometry, transformer: try TransformerConfiguration(width: 4, depth: 1, heads: 1))
        let path = folder.file("model.safetensors")
        try ModelFile.save(Model(encoder: encoder, seed: 1), to: path)
        let whole = try bytes(path)
        _ = try ModelFile.load(path)
        let header = 8 + Int(whole[0]) + Int(whole[1]) << 8
        for length in stride(from: 0, to: whole.count, by: 7) {
            try write(Array(whole[..<length]), to: path)
            let error = #expect(throws: MRPError.self) { try ModelFile.load(path) }
            #expect(error?.code == .format, "truncated to \(length)")
        }
        for position in stride(from: 0, to: header, by: 3) {
            var flipped = whole
            flipped[position] ^= 1 << UInt8(position % 8)
            try write(flipped, to: path)
            do { _ = try ModelFile.load(path) } catch let error as MRPError {
                #expect([.format, .version, .numeric, .memory, .unsupported].contains(error.code), "\(position): \(error)")
            }
        }
    }

    @Test func filesThatCannotBeReadOrWritten() throws {
        let folder = try TemporaryFolder()
        let missing = #expect(throws: MRPError.self) { try SafetensorsFile(path: folder.file("none.safetensors")) }
        #expect(missing?.code == .io)
        #expect(missing?.message.hasSuffix("none.safetensors': No such file or directory") == true)
        let directory = #expect(throws: MRPError.self) { try SafetensorsFile(path: folder.path) }
        #expect(directory?.code == .io)
        let unwritable = #expect(throws: MRPError.self) { try Safetensors.write([], metadata: [], to: folder.path + "/none/x.safetensors") }
        #expect(unwritable?.code == .io)
    }
}
