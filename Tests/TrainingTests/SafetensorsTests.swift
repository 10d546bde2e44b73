import MRPEngine
import MRPModels
import MRPTraining
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

    static let defects: [(header: String, data: Int, length: UInt64?, expected: String)] = [
        ("", 0, nil, "json: expected a value"),
        ("{}", 0, 1 << 40, "over the limit of 100000000"),
        ("{}", 0, 900, "header length 900 exceeds"),
        ("[]", 0, nil, "not a JSON object"),
        ("{\"a\":{\"dtype\":\"F99\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, nil, "unknown dtype"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, nil, "no valid shape"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, nil, "no valid shape"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, nil, "no valid data_offsets"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, nil, "outside the 4 bytes"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 4, nil, "outside the 4 bytes"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, nil, "needs 8 bytes"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,4]}}", 4, nil, "too large"),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, nil, "a hole or an overlap"),
        (
            "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
            4,
            nil, "a hole or an overlap"
        ),
        ("{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, nil, "1 bytes after the last tensor"),
        ("{\"a\":1,\"a\":2}", 0, nil, "duplicate key"),
        ("{\"__metadata__\":{\"k\":1}}", 0, nil, "metadata 'k' is not a string"),
        ("{\"__metadata__\":3}", 0, nil, "__metadata__ is not an object"),
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
                #expect([.format, .version, .numeric, .memory].contains(error.code), "\(position): \(error)")
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
