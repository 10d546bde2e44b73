import CMRPKernels

/// One kind of node: its shape rule, its gradient rule and its kernel, side by side in one file under `Operations/`.
///
/// An operation holds no tensors and no state: it reads its inputs, writes its outputs and, where it declares so, updates bound inputs.
/// So a graph can be planned, printed, or run by another backend.
public protocol Operation {
    /// For errors and plans, lower case: `layer norm`.
    var name: String { get }

    /// The shape rule. Optional inputs are nil when absent. Throws when the shapes do not fit.
    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType]

    /// The gradient rule: emits nodes that compute the gradient of each input from `outputGradients` (nil: that output does not
    /// influence the loss). One result for each input; nil where none is wanted or none exists.
    func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?]

    /// The kernel call with resolved pointers, and the scratch memory it needs.
    func kernel(_ call: KernelCall) -> Kernel

    /// The meaning in primitives: outputs in order, then the new values of `updatedInputs`. Optional inputs are nil when absent.
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue]

    /// Inputs whose memory output 0 may take over when nobody needs them afterwards.
    var reusableInputs: [Int] { get }

    /// An operation that also adds a value of output 0's shape, passed as input `index`; nil when it cannot.
    /// Differentiation uses it to sum gradients without a separate pass over memory.
    var addendForm: (operation: Operation, index: Int)? { get }

    /// Inputs that the operation overwrites; each must be a bound tensor.
    var updatedInputs: [Int] { get }

    /// The part of a run that an operation belongs to.
    var phase: RunPhase { get }
}

/// The two parts of a run.
public enum RunPhase: Sendable {
    /// May be cancelled, fail or be refused.
    case work
    /// Follows all work that was accepted and runs to its end: updates of weights, moments, running statistics.
    case update
}

extension Operation {
    public var reusableInputs: [Int] { [] }
    public var addendForm: (operation: Operation, index: Int)? { nil }
    public var updatedInputs: [Int] { [] }
    public var phase: RunPhase { updatedInputs.isEmpty ? .work : .update }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        throw MRPError(.unsupported, "the operation '\(name)' has no gradient")
    }
}

/// A node as its gradient rule sees it.
public struct DifferentiatedNode {
    public let inputs: [Value?]
    public let outputs: [Value]
    /// Inputs whose gradient is wanted.
    public let wanted: [Bool]

    public init(inputs: [Value?], outputs: [Value], wanted: [Bool]) {
        self.inputs = inputs
        self.outputs = outputs
        self.wanted = wanted
    }

    /// The result of a rule that has no gradient for any input.
    public var noGradients: [Value?] { gradients([]) }

    /// The result of a rule with gradients for the first inputs only.
    public func gradients(_ first: [Value?]) -> [Value?] {
        first + [Value?](repeating: nil, count: max(0, inputs.count - first.count))
    }
}

/// Pointers, types and the device of a kernel at preparation.
public struct KernelCall {
    public let compute: Compute
    public let inputs: [UnsafeMutableRawPointer?]
    public let outputs: [UnsafeMutableRawPointer?]
    public let inputTypes: [TensorType?]
    public let outputTypes: [TensorType]

    public var kernels: mk_kernels { compute.kernels }
    public var pool: OpaquePointer { compute.pool }

    public func input(_ index: Int) -> UnsafeMutableRawPointer? { index < inputs.count ? inputs[index] : nil }
    public func inputType(_ index: Int) -> TensorType? { index < inputTypes.count ? inputTypes[index] : nil }

    /// An input that the shape rule made sure of.
    public func type(_ index: Int) -> TensorType { inputTypes[index] ?? TensorType([]) }

    public func indices(_ index: Int) -> UnsafePointer<Int32>? {
        input(index).map { UnsafePointer($0.assumingMemoryBound(to: Int32.self)) }
    }

    /// A float64 scalar, to be read when the kernel runs; absent: `usual`.
    public func scalar(_ index: Int, usual: Double = 1) -> ScalarInput {
        ScalarInput(pointer: input(index).map { UnsafePointer($0.assumingMemoryBound(to: Double.self)) }, usual: usual)
    }

    /// The stride from image to image of an index input: its row length, or 0 when it is shared ([K] instead of [B, K]).
    public func indexStride(_ index: Int) -> Int64 {
        guard let type = inputType(index) else { return 0 }
        return type.shape.count == 2 ? Int64(type.width) : 0
    }
}

/// A float64 scalar input of a kernel.
public struct ScalarInput {
    let pointer: UnsafePointer<Double>?
    let usual: Double

    /// The number at this moment.
    public var value: Double { pointer?.pointee ?? usual }
}

/// A prepared kernel call: `run` looks up and allocates nothing. An error of `run` ends the run of the program.
public struct Kernel {
    public let scratch: mk_scratch
    public let run: () throws -> Void

    public init(scratch: mk_scratch = mk_scratch(per_worker: 0, shared: 0), run: @escaping () throws -> Void) {
        self.scratch = scratch
        self.run = run
    }
}

func shapeError(_ operation: String, _ text: String) -> MRPError {
    MRPError(.internalError, "\(operation): \(text)")
}
