import CMRPKernels

/// y = (x - mean) / sqrt(variance + epsilon) * gamma + beta over the last dimension, biased variance (Ba, Kiros & Hinton 2016).
///
/// Inputs: x [..., D], gamma [D], beta [D]. Outputs: y, mean [rows], rstd = 1 / sqrt(variance + epsilon) [rows].
public struct LayerNorm: Operation {
    let epsilon: Double

    public init(epsilon: Double) { self.epsilon = epsilon }

    public var name: String { "layer norm" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 3, let x = inputs[0], inputs[1]?.shape == [x.width], inputs[2]?.shape == [x.width] else {
            throw shapeError(name, "scale and shift must have the width of x")
        }
        return [x, TensorType([x.rows]), TensorType([x.rows])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.inputs[1], node.outputs[1], node.outputs[2], gradient]
        return try graph.apply(LayerNormGradient(), inputs).map { $0 }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, epsilon) = (call.pool, call.kernels.layer_norm_forward, self.epsilon)
        let (x, gamma, beta) = (call.input(0), call.input(1), call.input(2))
        let (y, mean, rstd) = (call.outputs[0], call.outputs[1], call.outputs[2])
        return Kernel { run(pool, rows, width, x, gamma, beta, epsilon, y, mean, rstd) }
    }
}

/// Inputs: x, gamma, mean, rstd, dy, addend?. Outputs: dx (+ addend), dgamma, dbeta.
struct LayerNormGradient: Operation {
    static let addend = 5

    var name: String { "layer norm gradient" }
    var reusableInputs: [Int] { [Self.addend] }
    var addendForm: (operation: Operation, index: Int)? { (self, Self.addend) }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs[0], let gamma = inputs[1] else { throw shapeError(name, "needs x and gamma") }
        return [x, gamma, gamma]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, inputs, outputs) = (call.pool, call.kernels.layer_norm_backward, call.inputs, call.outputs)
        let (x, gamma, mean, rstd, dy) = (inputs[0], inputs[1], inputs[2], inputs[3], inputs[4])
        let (addend, dx, dgamma, dbeta) = (call.input(Self.addend), outputs[0], outputs[1], outputs[2])
        return Kernel(scratch: call.kernels.layer_norm_scratch(rows, width)) {
            run(pool, rows, width, x, gamma, mean, rstd, dy, addend, dx, dgamma, dbeta)
        }
    }
}

extension LayerNorm {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        let (mean, difference, variance) = try x.centered([x.last])
        let inverse = try (variance + epsilon).rsqrt()
        let (scale, shift) = try (inputs.at(1), inputs.at(2))
        let y = try program.value(difference * inverse * scale + shift, is: .layerNorm(epsilon: epsilon), of: [x, scale, shift])
        return try [y, mean.reshape([x.rows]), inverse.reshape([x.rows])]
    }
}

extension LayerNormGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (x, dy) = try (inputs.at(0), inputs.at(4))
        let column = Array(x.shape.dropLast()) + [1]
        let (mean, inverse) = try (inputs.at(2).reshape(column), inputs.at(3).reshape(column))
        let h = try (x - mean) * inverse
        let g = try dy * inputs.at(1)
        let dx = try inverse * (g - g.mean([x.last], keep: true) - h * (g * h).mean([x.last], keep: true))
        return try [inputs.optional(Self.addend).map { try dx + $0 } ?? dx, (dy * h).sum(x.leading), dy.sum(x.leading)]
    }
}
