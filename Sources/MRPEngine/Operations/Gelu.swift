import CMRPKernels

/// GELU, x Phi(x), exact (Hendrycks & Gimpel 2016), where no matrix product makes x. Input: x. Output: its shape.
public struct Gelu: Operation {
    public init() {}

    public var name: String { "GELU" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 1, let x = inputs[0] else { throw shapeError(name, "needs x") }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return try graph.apply(GELUDerivative(), [node.inputs[0], gradient])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count, x, y) = (call.pool, call.kernels.gelu, Int64(call.type(0).count), call.input(0), call.outputs[0])
        return Kernel { run(pool, count, x, y) }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] { [try inputs.at(0).gelu()] }
}
