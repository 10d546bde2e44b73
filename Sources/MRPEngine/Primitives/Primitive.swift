/// Number formats of primitives.
public enum PrimitiveElement: Sendable {
    case f32, f64, i32, i1

    public var isReal: Bool { self == .f32 || self == .f64 }
}

/// Element and shape of a primitive value.
public struct PrimitiveType: Equatable, Sendable {
    public let shape: [Int]
    public let element: PrimitiveElement

    public init(_ shape: [Int], _ element: PrimitiveElement) {
        self.shape = shape
        self.element = element
    }

    /// The type of a value of a graph whose real numbers are `real`.
    public init(_ type: TensorType, real: PrimitiveElement) {
        switch type.element {
        case .real: self.init(type.shape, real)
        case .int32: self.init(type.shape, .i32)
        case .float64: self.init(type.shape, .f64)
        }
    }

    public var count: Int { shape.reduce(1, *) }
}

/// The instructions that every operation can be written in: those of StableHLO, with its names and meaning, in the forms that are needed
/// here. Operands are named in order; all shapes are static.
public enum Primitive {
    /// One number at all places.
    case constant(Double, PrimitiveType)
    /// A tensor of the graph: index lists and tables.
    case dense(Tensor, PrimitiveType)
    /// The index along a dimension.
    case iota(dimension: Int, PrimitiveType)
    case convert(PrimitiveElement)
    case unary(Unary)
    /// Operands of the same type.
    case binary(Binary)
    /// Operands of the same type; i1.
    case compare(Comparison)
    /// (mask i1, where true, where false), all of one shape.
    case select
    case reshape([Int])
    /// Result dimension i is operand dimension `[i]`.
    case transpose([Int])
    /// Operand dimension i becomes result dimension `dimensions[i]`; one of size 1 is repeated.
    case broadcastInDim([Int], dimensions: [Int])
    /// One of each dimension.
    case slice([Range<Int>], strides: [Int])
    /// (x, scalar): the scalar before, after and between the elements of each dimension; negative edges cut off.
    case pad([PrimitivePadding])
    case reverse([Int])
    case concatenate(dimension: Int)
    /// (x, indices i32, all in range): rows of x along a dimension, as numpy.take(x, indices, axis). StableHLO: `gather` with this one
    /// collapsed dimension. ONNX: `Gather`.
    case gather(dimension: Int)
    /// (updates [n, width], indices [n] i32) -> [rows, width]: zeros, to whose rows the updates are added; what is out of range is dropped.
    case scatterAdd(rows: Int)
    case reduce(Reduction, dimensions: [Int])
    /// The first `batch` dimensions of both operands belong together, one dimension of each is summed over. The result has the batch
    /// dimensions, then the rest of the left, then the rest of the right.
    case dotGeneral(batch: Int, contracting: (left: Int, right: Int))
    /// (x [B, H, W, C], weight [O, C / groups, h, w]) -> [B, H', W', O]: [b, 0, 1, f] x [o, i, 0, 1] -> [b, 0, 1, f].
    case convolution(rows: PrimitiveWindow, columns: PrimitiveWindow, groups: Int)
    /// x [B, H, W, C] over windows of H and W; padding is neutral.
    case reduceWindow(Reduction, rows: PrimitiveWindow, columns: PrimitiveWindow)
    /// The sum over all replicas of the program, on each of them.
    case allReduce

    public enum Unary: String, Sendable {
        case negate, exponential, log, sqrt, rsqrt, tanh, abs, sign
        /// `chlo.erf`
        case erf
        /// i1
        case isFinite = "is_finite"
    }

    public enum Binary: String, Sendable {
        case add, subtract, multiply, divide, maximum, minimum, power
        /// Of i1.
        case and, or
    }

    public enum Comparison: String, Sendable {
        case equal = "EQ"
        case notEqual = "NE"
        case less = "LT"
        case greater = "GT"
        case greaterOrEqual = "GE"
    }

    public enum Reduction: String, Sendable {
        case sum = "add"
        case maximum, minimum
    }
}

public struct PrimitivePadding: Equatable, Sendable {
    public let low: Int
    public let high: Int
    public let interior: Int

    public init(low: Int = 0, high: Int = 0, interior: Int = 0) { (self.low, self.high, self.interior) = (low, high, interior) }

    func size(of size: Int) -> Int { low + high + size + max(size - 1, 0) * interior }
}

/// A window along one axis. `baseDilation` spreads the operand before it is padded, `windowDilation` the window; padding may be negative.
public struct PrimitiveWindow: Equatable, Sendable {
    public let size: Int
    public let stride: Int
    public let low: Int
    public let high: Int
    public let baseDilation: Int
    public let windowDilation: Int

    public init(_ size: Int, stride: Int = 1, low: Int = 0, high: Int = 0, baseDilation: Int = 1, windowDilation: Int = 1) {
        (self.size, self.stride, self.low, self.high) = (size, stride, low, high)
        (self.baseDilation, self.windowDilation) = (baseDilation, windowDilation)
    }

    /// Positions that the window takes on an axis of `size` elements.
    public func outputSize(of size: Int) -> Int {
        let padded = low + high + (size - 1) * baseDilation + 1
        let reach = (self.size - 1) * windowDilation + 1
        return padded < reach ? 0 : (padded - reach) / stride + 1
    }
}

/// A function that several instructions compute together, for targets that have one instruction for it (StableHLO: `composite`).
public enum PrimitiveComposite: Sendable {
    /// Of x, over the last dimension.
    case softmax
    /// Of x, scale and shift, over the last dimension.
    case layerNorm(epsilon: Double)
    /// x Phi(x), of x.
    case gelu
    /// Of q, k, v [B, T, heads, d]; its gradients of these, the log-sum-exp, the output's gradient and the output [B, T, heads, d].
    case attention(Attention)

    /// What an attention gives: each is a value of its own.
    public enum Attention: Int, Sendable {
        case output, logSumExp, queryGradient, keyGradient, valueGradient
    }
}

/// A straight list of instructions on typed values, made by `Graph.lowered`: what exporters read.
public struct PrimitiveProgram {
    public struct Instruction {
        public let primitive: Primitive
        /// Numbers of values.
        public let operands: [Int]
        public let result: Int
        /// Name of the operation whose meaning it is part of.
        public let operation: String
    }

    public struct Argument {
        public enum Source {
            /// Input that the host fills before each step.
            case input(String)
            /// A tensor that lives outside the graph.
            case bound(String)
            /// The output of a `HostOperation`, which the CPU engine computes from inputs alone.
            case host(Value)
        }

        public let source: Source
        public let value: Int
    }

    public struct Result {
        public let value: Int
        /// The argument that this is the new value of; nil: an output.
        public let updates: Int?
    }

    /// Types by number of the value.
    public let types: [PrimitiveType]
    public let arguments: [Argument]
    /// In an order in which they can run; all of them are needed.
    public let instructions: [Instruction]
    /// Values that are functions of others as a whole, by number. The instructions that define them are there too.
    public let composites: [Int: (function: PrimitiveComposite, operands: [Int])]
    /// The outputs that were asked for, in order, then the new values of bound tensors.
    public let results: [Result]
    /// Whether all guards are finite (i1); else the new values of bound tensors are the old ones. Nil without guards.
    public let accepted: Int?
}
