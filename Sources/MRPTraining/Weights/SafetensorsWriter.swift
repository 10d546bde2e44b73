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

    /// Writes tensors in the given order, replacing the file as a whole; float32 tensors are stored as `floats` says (F32, F16 or
    /// BF16). Same input, same bytes. `MRP_ERR_NUMERIC` when a weight is too large for F16.
    public static func write(
        _ tensors: [Tensor], metadata: [(key: String, value: String)], floats: ElementFormat = .float32, to path: String
    ) throws {
        var members: [(key: String, value: JSON)] = []
        if !metadata.isEmpty { members.append(("__metadata__", .object(metadata.map { ($0.key, .string($0.value)) }))) }
        var position = 0
        var converted: [Bytes] = []
        var pieces: [UnsafeRawBufferPointer] = []
        for tensor in tensors {
            var (format, data) = (tensor.format, tensor.data)
            if format == .float32, floats != .float32 {
                let bytes = try convert(tensor, to: floats)
                converted.append(bytes)
                (format, data) = (floats, UnsafeRawBufferPointer(bytes.bytes))
            }
            let entry: [(key: String, value: JSON)] = [
                ("dtype", .string(format.rawValue)), ("shape", .array(tensor.shape.map { .integer($0) })),
                ("data_offsets", .array([.integer(position), .integer(position + data.count)])),
            ]
            members.append((tensor.name, .object(entry)))
            pieces.append(data)
            position += data.count
        }
        var header = Array(JSON.object(members).text().utf8)
        // Spaces align the data to 8 bytes, as the reference implementation does.
        while header.count % 8 != 0 { header.append(0x20) }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        try (length + header).withUnsafeBytes { prefix in
            try FileSystem.replace(path, with: [prefix] + pieces)
        }
        withExtendedLifetime(converted) {}
    }

    private static func convert(_ tensor: Tensor, to format: ElementFormat) throws -> Bytes {
        let values = tensor.data.bindMemory(to: Float.self)
        let result = try Bytes(2 * values.count)
        let output = result.bytes.bindMemory(to: UInt16.self)
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

/// Memory of the library's allocator.
final class Bytes {
    let bytes: UnsafeMutableRawBufferPointer

    init(_ count: Int) throws {
        guard let memory = mk_allocate(Int64(max(count, 1))) else { throw MRPError(.memory, "cannot allocate \(count) bytes") }
        bytes = UnsafeMutableRawBufferPointer(start: memory, count: count)
    }

    deinit { mk_release(bytes.baseAddress) }
}
