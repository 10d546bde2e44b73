import CMRPKernels

/// mean of the smooth absolute error (Girshick 2015, "Fast R-CNN", as torch's smooth_l1_loss): |d| - beta / 2 where |d| >= beta, else
/// d^2 / (2 beta), d = prediction - target; beta 0 gives the absolute error.
/// Inputs: prediction, target (same count; no gradient flows to the target).
public struct SmoothL1: Operation {
    let beta: Double

    public init(beta: Double) { self.beta = beta }

    public var name: String { "smooth L1" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let a = inputs[0], let b = inputs[1], a.count == b.count else {
            throw shapeError(name, "prediction and target must have the same shape")
        }
        return [TensorType([])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(SmoothL1Gradient(beta: beta), node.inputs + [gradient])[0], nil]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (count, beta) = (Int64(call.type(0).count), self.beta)
        let (pool, run, prediction, target, loss) = (call.pool, call.kernels.smooth_l1, call.input(0), call.input(1), call.outputs[0])
        return Kernel(scratch: call.kernels.squared_error_scratch(count)) { run(pool, count, beta, prediction, target, loss) }
    }
}

struct SmoothL1Gradient: Operation {
    let beta: Double

    var name: String { "smooth L1 gradient" }
    var reusableInputs: [Int] { [0] }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let prediction = inputs.first ?? nil else { throw shapeError(name, "needs a prediction") }
        return [prediction]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (count, beta) = (Int64(call.type(0).count), self.beta)
        let (pool, run, inputs, output) = (call.pool, call.kernels.smooth_l1_gradient, call.inputs, call.outputs[0])
        let (prediction, target, gradient) = (inputs[0], inputs[1], inputs[2])
        return Kernel { run(pool, count, beta, prediction, target, gradient, output) }
    }
}

extension SmoothL1 {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let prediction = try inputs.at(0)
        let distance = try (prediction - inputs.at(1).reshape(prediction.shape)).abs()
        let far = try distance - beta / 2
        let loss = try beta > 0 ? (distance .< beta).choose(distance.squared() / (2 * beta), far) : far
        return [try loss.mean(Array(loss.shape.indices))]
    }
}

extension SmoothL1Gradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let prediction = try inputs.at(0)
        let d = try prediction - inputs.at(1).reshape(prediction.shape)
        let slope = try beta > 0 ? (d.abs() .< beta).choose(d / beta, d.sign()) : d.sign()
        return try [slope * (inputs.at(2) / Double(d.type.count))]
    }
}
