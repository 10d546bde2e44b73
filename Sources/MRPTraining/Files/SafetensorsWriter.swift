import CMRPKernels
import MRPEngine

/// Writing of safetensors files.
public enum Safetensors {
    /// A tensor to be written: float32 numbers, or the bytes of another type as they are.
    public struct Tensor {
        let name: String
        let shape: [Int]
        let format: ElementFormat
        let data: UnsafeRawBufferPointer

        public init(_ name: String, _ shape: [Int], _ data: UnsafeRawBufferPointer, format: ElementFormat = .float32) {
            self.name = name
            self.shape = shape
            self.format = format
            self.data = data
        }
    }

    /// The bytes of a file, in pieces that lie in the tensors' own memory where they are stored as they are.
    public struct Encoded {
        fileprivate let header: Memory
        fileprivate var owned: [Memory] = []
        fileprivate(set) var pieces: [UnsafeRawBufferPointer]

        public var count: Int { pieces.reduce(0) { $0 + $1.count } }
    }

    /// The tensor that holds the CRC-32C of all bytes before it, at the end of a file that carries one.
    static let checksumName = "libmrp.crc32c"

    /// Writes tensors in the given order, replacing the file as a whole; float32 tensors are stored as `floats` says (F32, F16 or
    /// BF16). Same input, same bytes. `MRP_ERR_NUMERIC` when a weight is too large for F16.
    public static func write(
        _ tensors: [Tensor], metadata: [(key: String, value: String)], floats: ElementFormat = .float32, to path: String
    ) throws {
        let encoded = try encode(tensors, metadata: metadata, floats: floats)
        try withExtendedLifetime(encoded) { try FileSystem.replace(path, with: encoded.pieces) }
    }

    /// Bytes that `write` writes. With a checksum, a last tensor of one number is the CRC-32C of all bytes before it.
    public static func encode(
        _ tensors: [Tensor], metadata: [(key: String, value: String)], floats: ElementFormat = .float32, checksum: Bool = false
    ) throws -> Encoded {
        let metadataBytes = metadata.reduce(0) { $0 + $1.value.utf8.count }
        try Memory.check(metadataBytes, bytesEach: 8, for: "the header of a file")
        try Memory.check(tensors.count, bytesEach: 1_024, for: "the header of a file")
        var members: [(key: String, value: JSON)] = []
        if !metadata.isEmpty { members.append(("__metadata__", .object(metadata.map { ($0.key, .string($0.value)) }))) }
        var position = 0
        func describe(_ name: String, _ format: ElementFormat, _ shape: [Int], bytes: Int) {
            let entry: [(key: String, value: JSON)] = [
                ("dtype", .string(format.rawValue)), ("shape", .array(shape.map { .integer($0) })),
                ("data_offsets", .array([.integer(position), .integer(position + bytes)])),
            ]
            members.append((name, .object(entry)))
            position += bytes
        }
        var converted: [Memory] = []
        var pieces: [UnsafeRawBufferPointer] = []
        for tensor in tensors {
            try Interruption.check()
            var (format, data) = (tensor.format, tensor.data)
            if format == .float32, floats != .float32 {
                let bytes = try convert(tensor, to: floats)
                converted.append(bytes)
                (format, data) = (floats, UnsafeRawBufferPointer(bytes.raw))
            }
            describe(tensor.name, format, tensor.shape, bytes: data.count)
            pieces.append(data)
        }
        if checksum { describe(checksumName, .uint32, [], bytes: 4) }
        var text = Array(JSON.object(members).text().utf8)
        // Spaces align the data to 8 bytes, as the reference implementation does.
        while text.count % 8 != 0 { text.append(0x20) }
        guard text.count <= SafetensorsFile.maximumHeaderBytes else {
            throw MRPError(
                .argument,
                "the file's header would have \(text.count) bytes, over the \(SafetensorsFile.maximumHeaderBytes) that are read: the names of the classes are too many or too long"
            )
        }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: text.count >> (8 * $0)) }
        let header = try Memory(bytes: 8 + text.count, for: "a file")
        header.raw.copyBytes(from: length)
        UnsafeMutableRawBufferPointer(rebasing: header.raw[8...]).copyBytes(from: text)
        pieces.insert(UnsafeRawBufferPointer(header.raw), at: 0)
        if checksum {
            let sum = try Memory(bytes: 4, for: "a file")
            let value = try pieces.reduce(UInt32(0)) {
                try Interruption.check()
                return mk_crc32c($0, $1.baseAddress, Int64($1.count))
            }
            sum.raw.storeBytes(of: value.littleEndian, as: UInt32.self)
            converted.append(sum)
            pieces.append(UnsafeRawBufferPointer(sum.raw))
        }
        return Encoded(header: header, owned: converted, pieces: pieces)
    }

    private static func convert(_ tensor: Tensor, to format: ElementFormat) throws -> Memory {
        let values = tensor.data.bindMemory(to: Float.self)
        let result = try Memory(bytes: 2 * values.count, for: "a file")
        let output = result.raw.bindMemory(to: UInt16.self)
        if format == .bfloat16 {
            for index in values.indices { output[index] = FloatFormats.bfloat(values[index]) }
            return result
        }
        for index in values.indices { output[index] = FloatFormats.half(values[index]) }
        if let index = values.firstIndex(where: { $0.magnitude > FloatFormats.largestHalf }) {
            throw MRPError(.numeric, "weight \(index) of '\(tensor.name)' is \(values[index]): F16 reaches \(FloatFormats.largestHalf)")
        }
        return result
    }
}

extension Safetensors.Encoded {
    /// A copy of its own, so that the tensors may change. `MRP_ERR_MEMORY` when there is no room for it.
    func copied() throws -> Memory {
        let copy = try Memory(bytes: count, for: "a file")
        var position = 0
        for piece in pieces {
            guard let start = piece.baseAddress, let target = copy.raw.baseAddress else { continue }
            (target + position).copyMemory(from: start, byteCount: piece.count)
            position += piece.count
        }
        return copy
    }
}
