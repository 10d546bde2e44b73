import CMRPKernels

/// The mean of a value over the devices that run a program side by side, each on its share of the batch: of losses and gradients. On one
/// device it is the value. Not differentiable: it comes after differentiation.
///
/// Input: x. Output: x's shape.
public struct ReplicaMean: Operation {
    public init() {}

    public var name: String { "mean over replicas" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil else { throw shapeError(name, "needs an input") }
        return [x]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (x, y, bytes) = (call.input(0), call.outputs[0], call.type(0).bytes(call.compute.precision))
        return Kernel { if let x, let y, x != y { y.copyMemory(from: x, byteCount: bytes) } }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try program.meanOverReplicas(inputs.at(0))]
    }
}
