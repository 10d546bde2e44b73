import MRPEngine

/// Files in the safetensors format: 8 bytes little-endian header length, a JSON header (name -> dtype, shape, data_offsets;
/// `__metadata__` -> strings), raw row-major little-endian data without holes.
public struct SafetensorsFile {
    public struct Entry {
        public let name: String
        public let dtype: String
        public let shape: [Int]
        let begin: Int
        let end: Int

        public var count: Int { shape.reduce(1, *) }
    }

    /// The limit of the reference implementation.
    static let maximumHeaderBytes = 100_000_000
    static let elementBytes = [
        "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1,
        "BOOL": 1,
    ]

    public let entries: [String: Entry]
    public let metadata: [String: String]
    private let file: FileBytes
    private let dataStart: Int

    public var byteCount: Int { file.bytes.count }

    /// Reads and checks a whole file. Every defect is `MRP_ERR_FORMAT` with the path, the tensor and what is wrong.
    public init(path: String) throws {
        file = try FileBytes(path: path)
        let bytes = UnsafeRawBufferPointer(file.bytes)
        func failure(_ text: String) -> MRPError { MRPError(.format, "'\(path)' is not a valid safetensors file: \(text)") }

        guard bytes.count >= 8 else { throw failure("\(bytes.count) bytes are too few for a header length") }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(Self.maximumHeaderBytes) else {
            throw failure("header length \(length) is over the limit of \(Self.maximumHeaderBytes)")
        }
        guard 8 + Int(length) <= bytes.count else {
            throw failure("header length \(length) exceeds the \(bytes.count) bytes of the file")
        }
        dataStart = 8 + Int(length)
        let dataBytes = bytes.count - dataStart
        let header: JSON
        do {
            header = try JSON.parse(UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]).bindMemory(to: UInt8.self))
        } catch let error as MRPError {
            throw failure(error.message)
        }
        guard let members = header.members else { throw failure("the header is not a JSON object") }

        var entries: [String: Entry] = [:]
        var metadata: [String: String] = [:]
        for (name, value) in members {
            if name == "__metadata__" {
                for (key, text) in value.members ?? [] {
                    guard let text = text.string else { throw failure("metadata '\(key)' is not a string") }
                    metadata[key] = text
                }
                guard value.members != nil else { throw failure("__metadata__ is not an object") }
            } else {
                entries[name] = try Self.entry(name, value, dataBytes: dataBytes, failure: failure)
            }
        }
        try Self.checkCoverage(entries.values.map { $0 }, dataBytes: dataBytes, failure: failure)
        self.entries = entries
        self.metadata = metadata
    }

    private static func entry(
        _ name: String, _ value: JSON, dataBytes: Int, failure: (String) -> MRPError
    ) throws -> Entry {
        guard let dtype = value["dtype"]?.string, let size = elementBytes[dtype] else {
            throw failure("tensor '\(name)' has the unknown dtype \(value["dtype"]?.text() ?? "none")")
        }
        guard let shape = value["shape"]?.array?.map({ $0.integer }), shape.allSatisfy({ ($0 ?? -1) >= 0 }) else {
            throw failure("tensor '\(name)' has no valid shape")
        }
        guard let offsets = value["data_offsets"]?.array?.map({ $0.integer }), offsets.count == 2, let begin = offsets[0],
            let end = offsets[1]
        else { throw failure("tensor '\(name)' has no valid data_offsets") }
        guard begin >= 0, end >= begin, end <= dataBytes else {
            throw failure("tensor '\(name)' has data_offsets [\(begin), \(end)] outside the \(dataBytes) bytes of data")
        }
        let dimensions = shape.compactMap { $0 }
        var bytes = size
        for dimension in dimensions {
            let (product, overflow) = bytes.multipliedReportingOverflow(by: dimension)
            guard !overflow else { throw failure("tensor '\(name)' of shape \(dimensions) is too large") }
            bytes = product
        }
        guard bytes == end - begin else {
            throw failure(
                "tensor '\(name)' of shape \(dimensions) and dtype \(dtype) needs \(bytes) bytes, its data_offsets give \(end - begin)")
        }
        return Entry(name: name, dtype: dtype, shape: dimensions, begin: begin, end: end)
    }

    private static func checkCoverage(_ entries: [Entry], dataBytes: Int, failure: (String) -> MRPError) throws {
        var position = 0
        for entry in entries.sorted(by: { ($0.begin, $0.end, $0.name) < ($1.begin, $1.end, $1.name) }) {
            guard entry.begin == position else {
                throw failure("tensor '\(entry.name)' begins at byte \(entry.begin), expected \(position): a hole or an overlap")
            }
            position = entry.end
        }
        guard position == dataBytes else { throw failure("\(dataBytes - position) bytes after the last tensor") }
    }

    /// Copies a tensor's elements, converted to float32.
    public func read(_ entry: Entry, into output: UnsafeMutableBufferPointer<Float>) throws {
        guard output.count == entry.count else {
            throw MRPError(.format, "tensor '\(entry.name)' has shape \(entry.shape), which does not have \(output.count) elements")
        }
        let data = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(file.bytes)[(dataStart + entry.begin)..<(dataStart + entry.end)])
        switch entry.dtype {
        case "F32": UnsafeMutableRawBufferPointer(output).copyMemory(from: data)
        case "F64":
            for index in output.indices { output[index] = Float(data.loadUnaligned(fromByteOffset: 8 * index, as: Double.self)) }
        case "BF16":
            for index in output.indices {
                let bits = UInt32(data.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
                output[index] = Float(bitPattern: bits << 16)
            }
        case "F16":
            for index in output.indices {
                output[index] = Self.float(half: data.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
            }
        default: throw MRPError(.format, "tensor '\(entry.name)' has dtype \(entry.dtype), a float type is needed")
        }
    }

    private static func float(half: UInt16) -> Float {
        let (sign, exponent, fraction) = (UInt32(half >> 15) << 31, Int(half >> 10) & 31, UInt32(half & 1023))
        switch exponent {
        case 0: return (sign == 0 ? 1 : -1) * Float(fraction) * 0x1p-24
        case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
        default: return Float(bitPattern: sign | UInt32(exponent + 112) << 23 | fraction << 13)
        }
    }
}

public enum Safetensors {
    /// Writes float32 tensors in the given order, replacing the file as a whole. Same input, same bytes.
    public static func write(
        _ tensors: [(name: String, shape: [Int], data: UnsafeRawBufferPointer)], metadata: [(key: String, value: String)],
        to path: String
    ) throws {
        var members: [(key: String, value: JSON)] = []
        if !metadata.isEmpty { members.append(("__metadata__", .object(metadata.map { ($0.key, .string($0.value)) }))) }
        var position = 0
        for tensor in tensors {
            let entry: [(key: String, value: JSON)] = [
                ("dtype", .string("F32")), ("shape", .array(tensor.shape.map { .integer($0) })),
                ("data_offsets", .array([.integer(position), .integer(position + tensor.data.count)])),
            ]
            members.append((tensor.name, .object(entry)))
            position += tensor.data.count
        }
        var header = Array(JSON.object(members).text().utf8)
        // Spaces align the data to 8 bytes, as the reference implementation does.
        while header.count % 8 != 0 { header.append(0x20) }
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        try (length + header).withUnsafeBytes { prefix in
            try FileSystem.replace(path, with: [prefix] + tensors.map(\.data))
        }
    }
}
