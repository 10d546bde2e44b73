import CMRPKernels
import MRPEngine

/// A file in the safetensors format: 8 bytes little-endian header length, a JSON header (name -> dtype, shape, data_offsets;
/// `__metadata__` -> strings), raw row-major little-endian data without holes.
///
/// The file is mapped into memory, so that opening costs its header only; it must not become shorter while it is open.
public struct SafetensorsFile {
    public struct Entry: Sendable {
        public let name: String
        public let format: ElementFormat
        /// Empty for a single number.
        public let shape: [Int]
        let begin: Int
        let end: Int

        public var count: Int { shape.reduce(1, *) }
        public var dtype: String { format.rawValue }
    }

    /// The limit of the reference implementation.
    static let maximumHeaderBytes = 100_000_000

    public let entries: NameMap<Entry>
    public let metadata: NameMap<String>
    /// Name of the file in errors: its path.
    let path: String
    private let bytes: UnsafeRawBufferPointer
    /// Owner of the bytes.
    private let owner: AnyObject
    private let dataStart: Int

    /// The size of the file.
    public var byteCount: Int { bytes.count }

    /// Opens and checks a whole file. Every defect is `MRP_ERR_FORMAT` with the path, the tensor and what is wrong.
    public init(path: String) throws {
        let file = try FileMapping(path: path)
        try self.init(file.bytes, owner: file, path: path)
    }

    /// The bytes of a file in memory.
    init(_ memory: Memory, path: String) throws { try self.init(UnsafeRawBufferPointer(memory.raw), owner: memory, path: path) }

    private init(_ bytes: UnsafeRawBufferPointer, owner: AnyObject, path: String) throws {
        (self.bytes, self.owner, self.path) = (bytes, owner, path)
        do {
            let header = try SafetensorsHeader(bytes)
            (entries, metadata, dataStart) = (header.entries, header.metadata, header.dataStart)
        } catch let error as MRPError where error.code == .format {
            throw MRPError(.format, "'\(path)' is \(ForeignFile.name(bytes) ?? "not a valid safetensors file: \(error.message)")")
        }
    }

    /// Compares the file with the checksum at its end (see `Safetensors.encode`). Errors: `.format` when it has none or another.
    func verifyChecksum() throws {
        guard let entry = entries[Safetensors.checksumName], entry.format == .uint32, entry.count == 1, dataStart + entry.end == byteCount
        else { throw MRPError(.format, "'\(path)' has no checksum at its end") }
        let stored = UInt32(littleEndian: data(entry).loadUnaligned(as: UInt32.self))
        var (found, position) = (UInt32(0), 0)
        while position < byteCount - 4, let start = bytes.baseAddress {
            try Interruption.check()
            let count = min(64 << 20, byteCount - 4 - position)
            found = mk_crc32c(found, start + position, Int64(count))
            position += count
        }
        guard stored == found else {
            throw MRPError(
                .format, "'\(path)' is damaged: its checksum is \(String(stored, radix: 16)), its bytes have \(String(found, radix: 16))")
        }
    }

    private func data(_ entry: Entry) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: bytes[(dataStart + entry.begin)..<(dataStart + entry.end)])
    }

    /// Copies a tensor's elements, converted to float32.
    public func read(_ entry: Entry, into output: UnsafeMutableBufferPointer<Float>) throws {
        guard output.count == entry.count else {
            throw MRPError(.format, "tensor '\(entry.name)' has shape \(entry.shape), which does not have \(output.count) elements")
        }
        let data = data(entry)
        switch entry.format {
        case .float32: UnsafeMutableRawBufferPointer(output).copyMemory(from: data)
        case .float64:
            for index in output.indices { output[index] = Float(data.loadUnaligned(fromByteOffset: 8 * index, as: Double.self)) }
        case .bfloat16:
            for index in output.indices {
                output[index] = FloatFormats.float(bfloat: data.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
            }
        case .float16:
            for index in output.indices {
                output[index] = FloatFormats.float(half: data.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
            }
        default:
            throw MRPError(.format, "tensor '\(entry.name)' has dtype \(entry.dtype), a weight is one of F64, F32, F16, BF16")
        }
    }

    /// A tensor of 64-bit integers, such as the `num_batches_tracked` of a batch norm, whose shape is empty.
    public func integers(_ entry: Entry) throws -> [Int64] {
        guard entry.format == .int64 else {
            throw MRPError(.format, "tensor '\(entry.name)' has dtype \(entry.dtype), expected I64")
        }
        let data = data(entry)
        return (0..<entry.count).map { Int64(littleEndian: data.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) }
    }
}
