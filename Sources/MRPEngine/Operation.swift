import CMRPKernels

/// One kind of node: its shape rule, its gradient rule and its kernel, side by side in one file under `Operations/`.
///
/// An operation holds no tensors and no state: all that it reads are its inputs, all that it writes are its outputs (and, when
/// `hasSideEffects`, the bound tensors among its inputs). So a graph can be planned, printed, or run by another backend.
public protocol Operation {
    /// For errors and plans, lower case: `layer norm`.
    var name: String { get }

    /// The shape rule. Optional inputs are nil when absent. Throws when the shapes do not fit.
    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType]

    /// The gradient rule: emits nodes that compute the gradient of each input from `outputGradients` (nil: that output does not
    /// influence the loss). Results are per input; nil where none is wanted or none exists.
    func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?]

    /// The kernel call with resolved pointers, and the scratch memory it needs.
    func kernel(_ call: KernelCall) -> Kernel

    /// The meaning in primitives: outputs in order, then the new values of the inputs that it updates (`updatedInputs`). Optional inputs are
    /// nil when absent.
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue]

    /// The bound inputs that it gives new values.
    var updatedInputs: [Int] { get }

    /// Inputs whose memory output 0 may take over when nobody needs them afterwards.
    var reusableInputs: [Int] { get }

    /// An operation that also adds a value of output 0's shape, passed as input `index`; nil when it cannot.
    /// Differentiation uses it to sum gradients without a separate pass over memory.
    var addendForm: (operation: Operation, index: Int)? { get }

    /// True for what writes to bound tensors.
    var hasSideEffects: Bool { get }

    /// Whether a side effect is an update: those run after all others and are never interrupted.
    var isUpdate: Bool { get }
}

extension Operation {
    public var reusableInputs: [Int] { [] }
    public var addendForm: (operation: Operation, index: Int)? { nil }
    public var hasSideEffects: Bool { false }
    public var isUpdate: Bool { hasSideEffects }
    public var updatedInputs: [Int] { [] }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        throw MRPError(.unsupported, "the operation '\(name)' has no gradient")
    }
}

/// What a gradient rule sees of the node that it differentiates.
public struct DifferentiatedNode {
    public let inputs: [Value?]
    public let outputs: [Value]
    /// Per input: whether its gradient is wanted.
    public let wanted: [Bool]
}

/// Everything a kernel needs at preparation: the chosen kernel table, the pool, pointers and types.
public struct KernelCall {
    public let kernels: mk_kernels
    public let pool: OpaquePointer
    public let convolvesDirectly: Bool
    public let inputs: [UnsafeMutableRawPointer?]
    public let outputs: [UnsafeMutableRawPointer?]
    public let inputTypes: [TensorType?]
    public let outputTypes: [TensorType]

    public func input(_ index: Int) -> UnsafeMutableRawPointer? { index < inputs.count ? inputs[index] : nil }
    public func inputType(_ index: Int) -> TensorType? { index < inputTypes.count ? inputTypes[index] : nil }

    /// An input that the shape rule made sure of.
    public func type(_ index: Int) -> TensorType { inputTypes[index] ?? TensorType([]) }

    public func indices(_ index: Int) -> UnsafePointer<Int32>? {
        input(index).map { UnsafePointer($0.assumingMemoryBound(to: Int32.self)) }
    }

    /// The stride from image to image of an index input: its row length, or 0 when it is shared ([K] instead of [B, K]).
    public func indexStride(_ index: Int) -> Int64 {
        guard let type = inputType(index) else { return 0 }
        return type.shape.count == 2 ? Int64(type.width) : 0
    }
}

/// A prepared kernel call: no look-up and no allocation happens in `run`.
public struct Kernel {
    public let scratch: mk_scratch
    public let run: () -> Void

    public init(scratch: mk_scratch = mk_scratch(per_worker: 0, shared: 0), run: @escaping () -> Void) {
        self.scratch = scratch
        self.run = run
    }
}

func shapeError(_ operation: String, _ text: String) -> MRPError {
    MRPError(.internalError, "\(operation): \(text)")
}
