import CMRPKernels

/// The width of `real` numbers in a compiled graph: float32 for work, float64 for checking gradients.
public enum Precision: String, CaseIterable, Sendable {
    case float32
    case float64

    public var bytes: Int { self == .float32 ? 4 : 8 }
}

/// What a value holds: numbers of the compiled precision, or 32-bit indices and labels.
public enum ElementType: Sendable {
    case real
    case int32

    public func bytes(_ precision: Precision) -> Int { self == .int32 ? 4 : precision.bytes }
}

/// Shape and element type of a value; row-major, the last dimension is contiguous.
public struct TensorType: Equatable, Sendable {
    public let shape: [Int]
    public let element: ElementType

    public init(_ shape: [Int], _ element: ElementType = .real) {
        self.shape = shape
        self.element = element
    }

    public var count: Int { shape.reduce(1, *) }
    /// The last dimension (1 for a scalar).
    public var width: Int { shape.last ?? 1 }
    /// All dimensions but the last, multiplied.
    public var rows: Int { shape.dropLast().reduce(1, *) }

    public func bytes(_ precision: Precision) -> Int { count * element.bytes(precision) }
}

/// The product of sizes that come from outside, or an error that shows them when it does not fit a 62-bit number of bytes.
public func checkedCount(_ sizes: [Int], bytesEach: Int = 8) throws -> Int {
    var total = 1
    for size in sizes {
        let (product, overflow) = total.multipliedReportingOverflow(by: size)
        guard size >= 0, !overflow, product <= (1 << 62) / max(bytesEach, 1) else {
            throw MRPError(.memory, "a tensor of shape \(sizes) is too large")
        }
        total = product
    }
    return total
}

/// Memory for one tensor, from the library's allocator; fails with `MRP_ERR_MEMORY` instead of ending the process.
public final class Tensor {
    public let type: TensorType
    public let precision: Precision
    public let bytes: Int
    public let memory: UnsafeMutableRawPointer

    /// A zeroed tensor.
    public init(_ type: TensorType, precision: Precision = .float32) throws {
        bytes = try checkedCount(type.shape) * type.element.bytes(precision)
        guard let memory = mk_allocate_zeroed(Int64(max(bytes, 1))) else {
            throw MRPError(.memory, "cannot allocate \(bytes) bytes for a tensor of shape \(type.shape)")
        }
        self.type = type
        self.precision = precision
        self.memory = memory
    }

    public convenience init(_ shape: [Int], precision: Precision = .float32) throws {
        try self.init(TensorType(shape), precision: precision)
    }

    deinit { mk_release(memory) }

    public var shape: [Int] { type.shape }
    public var count: Int { type.count }

    /// The elements of an int32 tensor.
    public var int32: UnsafeMutableBufferPointer<Int32> {
        precondition(type.element == .int32)
        return UnsafeMutableBufferPointer(start: memory.assumingMemoryBound(to: Int32.self), count: count)
    }

    /// The elements of a real tensor of precision float32.
    public var float32: UnsafeMutableBufferPointer<Float> {
        precondition(type.element == .real && precision == .float32)
        return UnsafeMutableBufferPointer(start: memory.assumingMemoryBound(to: Float.self), count: count)
    }

    /// One real element as a double, whatever the precision.
    public subscript(index: Int) -> Double {
        get {
            precondition(type.element == .real && index >= 0 && index < count)
            return precision == .float32
                ? Double(memory.assumingMemoryBound(to: Float.self)[index])
                : memory.assumingMemoryBound(to: Double.self)[index]
        }
        set {
            precondition(type.element == .real && index >= 0 && index < count)
            if precision == .float32 {
                memory.assumingMemoryBound(to: Float.self)[index] = Float(newValue)
            } else {
                memory.assumingMemoryBound(to: Double.self)[index] = newValue
            }
        }
    }

    /// Copies the elements of `other`, which has the same count and element type; real numbers are converted.
    public func copyElements(of other: Tensor) {
        precondition(other.count == count && other.type.element == type.element)
        if other.precision == precision || type.element == .int32 {
            memory.copyMemory(from: other.memory, byteCount: bytes)
        } else {
            for index in 0..<count { self[index] = other[index] }
        }
    }

    /// A copy with its own memory.
    public func copy() throws -> Tensor {
        let result = try Tensor(type, precision: precision)
        result.memory.copyMemory(from: memory, byteCount: bytes)
        return result
    }
}
