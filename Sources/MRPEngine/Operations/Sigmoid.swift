import CMRPKernels

/// y = 1 / (1 + exp(-x)). Input: x. Output: its shape.
public struct Sigmoid: Operation {
    public init() {}

    public var name: String { "sigmoid" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 1, let x = inputs[0] else { throw shapeError(name, "needs x") }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return try graph.apply(SigmoidGradient(), [node.outputs[0], gradient])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count, x, y) = (call.pool, call.kernels.sigmoid, Int64(call.type(0).count), call.input(0), call.outputs[0])
        return Kernel { run(pool, count, x, y) }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).sigmoid()]
    }
}

/// Inputs: y, the sigmoid, and its gradient.
struct SigmoidGradient: Operation {
    var name: String { "sigmoid gradient" }
    var reusableInputs: [Int] { [1] }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let y = inputs[0], let gradient = inputs[1], y.count == gradient.count else {
            throw shapeError(name, "value and gradient must have the same shape")
        }
        return [y]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count) = (call.pool, call.kernels.sigmoid_gradient, Int64(call.type(0).count))
        let (y, gradient, output) = (call.input(0), call.input(1), call.outputs[0])
        return Kernel { run(pool, count, y, gradient, output) }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let y = try inputs.at(0)
        return [try inputs.at(1).reshape(y.shape) * y * (1 - y)]
    }
}

extension PrimitiveValue {
    /// 1 / (1 + exp(-self)), whose powers do not overflow.
    func sigmoid() throws -> PrimitiveValue { try logSigmoid().exp() }

    /// log(1 / (1 + exp(-self))) = min(self, 0) - log(1 + exp(-|self|))
    func logSigmoid() throws -> PrimitiveValue {
        let zero = try program.constant(0, shape, element)
        return try Self.binary(.minimum, self, zero) - ((0 - abs()).exp() + 1).log()
    }
}
