import CMRPKernels

/// x times a number of the step, such as a weight that grows in the course of a run. Inputs: x, the number (float64 scalar). Output: as x.
public struct StepScale: Operation {
    public init() {}

    public var name: String { "step scale" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let x = inputs[0], x.element == .real, inputs[1] == TensorType([], .float64) else {
            throw shapeError(name, "takes x and a float64 scalar")
        }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(self, [gradient, node.inputs[1]])[0], nil]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count, factor) = (call.pool, call.kernels.scale, Int64(call.type(0).count), call.scalar(1))
        let (x, y) = (call.input(0), call.outputs[0])
        return Kernel { run(pool, count, factor.value, x, y) }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        return [try x * inputs.at(1).converted(to: x.element)]
    }
}
