import CMRPKernels

/// mean((prediction - target)^2) over all elements. Inputs: prediction, target (same count; no gradient flows to the target).
public struct MeanSquaredError: Operation {
    public init() {}

    public var name: String { "mean squared error" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let a = inputs[0], let b = inputs[1], a.count == b.count else {
            throw shapeError(name, "prediction and target must have the same shape")
        }
        return [TensorType([])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(MeanSquaredErrorGradient(), node.inputs + [gradient])[0], nil]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let count = Int64(call.type(0).count)
        let (pool, run, prediction, target, loss) =
            (call.pool, call.kernels.squared_error, call.input(0), call.input(1), call.outputs[0])
        return Kernel(scratch: call.kernels.squared_error_scratch(count)) { run(pool, count, prediction, target, loss) }
    }
}

struct MeanSquaredErrorGradient: Operation {
    var name: String { "mean squared error gradient" }
    var reusableInputs: [Int] { [0] }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let prediction = inputs.first ?? nil else { throw shapeError(name, "needs a prediction") }
        return [prediction]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let count = Int64(call.type(0).count)
        let (pool, run, inputs, output) = (call.pool, call.kernels.squared_error_gradient, call.inputs, call.outputs[0])
        let (prediction, target, gradient) = (inputs[0], inputs[1], inputs[2])
        return Kernel { run(pool, count, prediction, target, gradient, output) }
    }
}

/// Mean softmax cross entropy against (1 - smoothing) one-hot + smoothing / K (Szegedy et al. 2016).
/// Inputs: logits [..., K], one row for each of the labels, int32 in 0 ..< K, and factors [rows] of the rows' losses or none. Outputs: loss
/// (scalar), log-sum-exp [rows].
public struct SoftmaxCrossEntropy: Operation {
    let smoothing: Double

    public init(smoothing: Double = 0) { self.smoothing = smoothing }

    public var name: String { "softmax cross entropy" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 2, let logits = inputs[0], logits.shape.count >= 2, let labels = inputs[1],
            labels.element == .int32, labels.count == logits.rows, weightsFit(inputs, logits)
        else { throw shapeError(name, "logits must be [rows, classes], labels and weights [rows]") }
        return [TensorType([]), TensorType([logits.rows])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.inputs[1], node.outputs[1], gradient] + node.inputs.dropFirst(2)
        return node.gradients([try graph.apply(SoftmaxCrossEntropyGradient(smoothing: smoothing), inputs)[0]])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, smoothing) = (call.pool, call.kernels.cross_entropy, self.smoothing)
        let (logits, labels, loss, logSumExp) = (call.input(0), call.indices(1), call.outputs[0], call.outputs[1])
        let weights = call.input(2)
        return Kernel(scratch: call.kernels.cross_entropy_scratch(rows, classes)) {
            run(pool, rows, classes, logits, labels, smoothing, weights, logSumExp, loss)
        }
    }
}

struct SoftmaxCrossEntropyGradient: Operation {
    let smoothing: Double

    var name: String { "softmax cross entropy gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let logits = inputs.first ?? nil else { throw shapeError(name, "needs logits") }
        return [logits]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, smoothing) = (call.pool, call.kernels.cross_entropy_gradient, self.smoothing)
        let (logits, labels, logSumExp, gradient) = (call.input(0), call.indices(1), call.input(2), call.input(3))
        let (weights, output) = (call.input(4), call.outputs[0])
        return Kernel { run(pool, rows, classes, logits, labels, smoothing, weights, logSumExp, gradient, output) }
    }
}

/// Mean softmax cross entropy against targets whose rows add up to 1, for images that are mixed (Zhang et al. 2018): mean over rows of
/// log-sum-exp - sum of target x logit. Inputs: logits [B, K], targets [B, K], and factors [B] of the rows' losses or none; no gradient flows
/// to the last two. Outputs: loss (scalar), log-sum-exp [B].
public struct SoftTargetCrossEntropy: Operation {
    public init() {}

    public var name: String { "soft target cross entropy" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 2, let logits = inputs[0], logits.shape.count == 2, inputs[1] == logits, weightsFit(inputs, logits) else {
            throw shapeError(name, "logits and targets must be [batch, classes], weights [batch]")
        }
        return [TensorType([]), TensorType([logits.rows])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.inputs[1], node.outputs[1], gradient] + node.inputs.dropFirst(2)
        return node.gradients([try graph.apply(SoftTargetCrossEntropyGradient(), inputs)[0]])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run) = (call.pool, call.kernels.soft_cross_entropy)
        let (logits, targets, loss, logSumExp) = (call.input(0), call.input(1), call.outputs[0], call.outputs[1])
        let weights = call.input(2)
        return Kernel(scratch: call.kernels.cross_entropy_scratch(rows, classes)) {
            run(pool, rows, classes, logits, targets, weights, logSumExp, loss)
        }
    }
}

struct SoftTargetCrossEntropyGradient: Operation {
    var name: String { "soft target cross entropy gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let logits = inputs.first ?? nil else { throw shapeError(name, "needs logits") }
        return [logits]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, inputs, output) = (call.pool, call.kernels.soft_cross_entropy_gradient, call.inputs, call.outputs[0])
        let (logits, targets, logSumExp, gradient) = (inputs[0], inputs[1], inputs[2], inputs[3])
        let weights = call.input(4)
        return Kernel { run(pool, rows, classes, logits, targets, weights, logSumExp, gradient, output) }
    }
}

/// True where the optional third input of a cross entropy is absent or has one factor for each row.
private func weightsFit(_ inputs: [TensorType?], _ logits: TensorType) -> Bool {
    guard inputs.count > 2, let weights = inputs[2] else { return true }
    return weights == TensorType([logits.rows])
}

/// Rows times their factors, where there are some.
private func weighted(_ rows: PrimitiveValue, _ weights: PrimitiveValue?) throws -> PrimitiveValue {
    guard let weights else { return rows }
    return try rows * weights.reshape([weights.type.count] + rows.shape.dropFirst().map { _ in 1 })
}

extension MeanSquaredError {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let prediction = try inputs.at(0)
        return try [(prediction - inputs.at(1).reshape(prediction.shape)).squared().mean(Array(prediction.shape.indices))]
    }
}

extension MeanSquaredErrorGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let prediction = try inputs.at(0)
        let factor = try inputs.at(2) * (2 / Double(prediction.type.count))
        return try [(prediction - inputs.at(1).reshape(prediction.shape)) * factor]
    }
}

extension SoftmaxCrossEntropy {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0).matrix()
        let logSumExp = try logits.softmax().logSumExp.reshape([logits.rows])
        var expected = try inputs.at(1).isOne(of: logits.width).choose(logits, 0).sum([1]) * (1 - smoothing)
        if smoothing > 0 { expected = try expected + logits.mean([1]) * smoothing }
        return try [weighted(logSumExp - expected, inputs.optional(2)).mean([0]), logSumExp]
    }
}

extension SoftmaxCrossEntropyGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0).matrix()
        let isLabel = try inputs.at(1).isOne(of: logits.width).converted(to: logits.element)
        let target = try isLabel * (1 - smoothing) + smoothing / Double(logits.width)
        let probabilities = try (logits - inputs.at(2).reshape([logits.rows, 1])).exp()
        let slopes = try weighted(probabilities - target, inputs.optional(4))
        return try [(slopes * (inputs.at(3) / Double(logits.rows))).reshape(inputs.at(0).shape)]
    }
}

extension SoftTargetCrossEntropy {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0)
        let logSumExp = try logits.softmax().logSumExp.reshape([logits.rows])
        let losses = try logSumExp - (inputs.at(1) * logits).sum([1])
        return try [weighted(losses, inputs.optional(2)).mean([0]), logSumExp]
    }
}

extension SoftTargetCrossEntropyGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0)
        let probabilities = try (logits - inputs.at(2).reshape([logits.rows, 1])).exp()
        return try [weighted(probabilities - inputs.at(1), inputs.optional(4)) * (inputs.at(3) / Double(logits.rows))]
    }
}
