/// The width of `real` numbers in a compiled graph: float32 for work, float64 for checking gradients.
public enum Precision: String, CaseIterable, Sendable {
    case float32
    case float64

    public var bytes: Int { self == .float32 ? 4 : 8 }
}

/// Element type of a value.
public enum ElementType: Sendable {
    /// Numbers of the compiled precision.
    case real
    /// Indices and labels.
    case int32
    /// Doubles whatever the precision: scalars of a step that the host computes, for example the learning rate.
    case float64

    public func bytes(_ precision: Precision) -> Int {
        switch self {
        case .real: precision.bytes
        case .int32: 4
        case .float64: 8
        }
    }
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

    /// One floating-point element of memory of this type. Errors: `.internalError` for indices, and where there is none.
    public func number(_ index: Int, in memory: UnsafeRawBufferPointer, _ precision: Precision) throws -> Double {
        guard index >= 0, index < count, element != .int32 else {
            throw MRPError(.internalError, "element \(index) of an output of shape \(shape) was read")
        }
        return element.bytes(precision) == 4
            ? Double(memory.load(fromByteOffset: 4 * index, as: Float.self)) : memory.load(fromByteOffset: 8 * index, as: Double.self)
    }
}

/// A tensor in host memory.
public final class Tensor {
    public let type: TensorType
    public let precision: Precision
    private let storage: Memory

    /// A zeroed tensor. Errors: `.memory`.
    public init(_ type: TensorType, precision: Precision = .float32) throws {
        let bytes = try checkedProduct(type.shape) * type.element.bytes(precision)
        storage = try Memory(bytes: bytes, zeroed: true, for: "a tensor of shape \(type.shape)")
        self.type = type
        self.precision = precision
    }

    public convenience init(_ shape: [Int], precision: Precision = .float32) throws {
        try self.init(TensorType(shape), precision: precision)
    }

    public var bytes: Int { storage.bytes }
    public var memory: UnsafeMutableRawPointer { storage.base }
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

    private var holdsDoubles: Bool { type.element == .float64 || (type.element == .real && precision == .float64) }

    /// One floating-point element as a double, whatever the precision.
    public subscript(index: Int) -> Double {
        get {
            precondition(type.element != .int32 && index >= 0 && index < count)
            return holdsDoubles
                ? memory.assumingMemoryBound(to: Double.self)[index] : Double(memory.assumingMemoryBound(to: Float.self)[index])
        }
        set {
            precondition(type.element != .int32 && index >= 0 && index < count)
            if holdsDoubles {
                memory.assumingMemoryBound(to: Double.self)[index] = newValue
            } else {
                memory.assumingMemoryBound(to: Float.self)[index] = Float(newValue)
            }
        }
    }

    /// Copies the elements of `other`, which has the same count and element type; real numbers are converted.
    public func copyElements(of other: Tensor) {
        precondition(other.count == count && other.type.element == type.element)
        if other.precision == precision || type.element != .real {
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
