import CMRPKernels

/// Mean over rows of (1 - p)^gamma (-log p), p the softmax at the row's label (Lin et al. 2017, "Focal Loss for Dense Object Detection").
/// Inputs: logits [..., K], one row for each of the labels, int32 in 0 ..< K, and factors [rows] of the rows' losses or none. Outputs: loss
/// (scalar), log-sum-exp [rows].
public struct FocalCrossEntropy: Operation {
    let gamma: Double

    /// `gamma` 0 is the cross entropy.
    public init(gamma: Double) { self.gamma = gamma }

    public var name: String { "focal cross entropy" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let logits = try PixelLossInputs.check(inputs, name)
        return [TensorType([]), TensorType([logits.rows])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.inputs[1], node.outputs[1], gradient] + node.inputs.dropFirst(2)
        return node.gradients(try graph.apply(FocalCrossEntropyGradient(gamma: gamma), inputs))
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, gamma) = (call.pool, call.kernels.focal, self.gamma)
        let (logits, labels, weights, loss, logSumExp) = (call.input(0), call.indices(1), call.input(2), call.outputs[0], call.outputs[1])
        return Kernel(scratch: call.kernels.cross_entropy_scratch(rows, classes)) {
            run(pool, rows, classes, logits, labels, gamma, weights, logSumExp, loss)
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0).matrix()
        let logSumExp = try logits.softmax().logSumExp.reshape([logits.rows])
        let known = try inputs.at(1).isOne(of: logits.width).choose(logits, 0).sum([1]) - logSumExp
        let losses = try FocalCrossEntropyGradient.power(1 - known.exp(), gamma) * (0 - known)
        return [try PixelLossInputs.weighted(losses, inputs.optional(2)).mean([0]), logSumExp]
    }
}

/// Inputs: logits, labels, log-sum-exp, the loss's gradient, factors or none.
struct FocalCrossEntropyGradient: Operation {
    let gamma: Double

    var name: String { "focal cross entropy gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let logits = inputs.first ?? nil else { throw shapeError(name, "needs logits") }
        return [logits]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, gamma) = (call.pool, call.kernels.focal_gradient, self.gamma)
        let (logits, labels, logSumExp, gradient) = (call.input(0), call.indices(1), call.input(2), call.input(3))
        let (weights, output) = (call.input(4), call.outputs[0])
        return Kernel { run(pool, rows, classes, logits, labels, gamma, weights, logSumExp, gradient, output) }
    }

    /// base^exponent of a base that is not negative; 0 has the power 0 here, whatever the exponent but 0.
    static func power(_ base: PrimitiveValue, _ exponent: Double) throws -> PrimitiveValue {
        guard exponent != 0 else { return try base * 0 + 1 }
        let number = try base.program.constant(exponent, base.shape, base.element)
        let isAbove = try base .> 0
        return try isAbove.choose(.binary(.power, isAbove.choose(base, 1), number), 0)
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0).matrix()
        let isLabel = try inputs.at(1).isOne(of: logits.width)
        let logSumExp = try inputs.at(2).reshape([logits.rows])
        let known = try isLabel.choose(logits, 0).sum([1]) - logSumExp
        let rest = try 1 - known.exp()
        var slope = try 0 - Self.power(rest, gamma)
        if gamma > 0 { slope = try slope + Self.power(rest, gamma - 1) * known.exp() * known * gamma }
        slope = try PixelLossInputs.weighted(slope, inputs.optional(4)) * (inputs.at(3) / Double(logits.rows))
        let shares = try (logits - logSumExp.reshape([logits.rows, 1])).exp()
        let direction = try isLabel.converted(to: logits.element) - shares
        return [try (direction * slope.reshape([logits.rows, 1])).reshape(inputs.at(0).shape)]
    }
}

/// Dice loss of classes (Milletari et al. 2016, "V-Net", with softmax): the mean over classes of
/// 1 - (2 sum w p t + smooth) / (sum w (p + t) + smooth), sums over all rows, p = softmax(logits), t = one-hot(label), w the factor of the row.
/// Inputs: logits [..., K], one row for each of the labels, int32 in 0 ..< K, and factors [rows] or none. Outputs: loss (scalar),
/// log-sum-exp [rows], numerators and denominators [2, K].
public struct DiceLoss: Operation {
    let smooth: Double

    public init(smooth: Double = 1) { self.smooth = smooth }

    public var name: String { "dice loss" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let logits = try PixelLossInputs.check(inputs, name)
        return [TensorType([]), TensorType([logits.rows]), TensorType([2, logits.width])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.inputs[1], node.outputs[1], node.outputs[2], gradient] + node.inputs.dropFirst(2)
        return node.gradients(try graph.apply(DiceLossGradient(), inputs))
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, smooth, outputs) = (call.pool, call.kernels.dice, self.smooth, call.outputs)
        let (logits, labels, weights) = (call.input(0), call.indices(1), call.input(2))
        return Kernel(scratch: call.kernels.dice_scratch(rows, classes)) {
            run(pool, rows, classes, logits, labels, weights, smooth, outputs[1], outputs[2], outputs[0])
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0).matrix()
        let (shares, logSumExp) = try logits.softmax()
        let labels = try inputs.at(1).isOne(of: logits.width).converted(to: logits.element)
        let both = try PixelLossInputs.weighted(shares * labels, inputs.optional(2)).sum([0]) * 2 + smooth
        let all = try PixelLossInputs.weighted(shares + labels, inputs.optional(2)).sum([0]) + smooth
        let sums = try PrimitiveValue.concatenate([both, all].map { try $0.reshape([1, logits.width]) }, 0)
        return [try (1 - both / all).mean([0]), try logSumExp.reshape([logits.rows]), sums]
    }
}

/// Inputs: logits, labels, log-sum-exp, sums, the loss's gradient, factors or none.
struct DiceLossGradient: Operation {
    var name: String { "dice loss gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let logits = inputs.first ?? nil else { throw shapeError(name, "needs logits") }
        return [logits]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, output) = (call.pool, call.kernels.dice_gradient, call.outputs[0])
        let (logits, labels, logSumExp, sums) = (call.input(0), call.indices(1), call.input(2), call.input(3))
        let (gradient, weights) = (call.input(4), call.input(5))
        return Kernel { run(pool, rows, classes, logits, labels, weights, logSumExp, sums, gradient, output) }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let logits = try inputs.at(0).matrix()
        let shares = try (logits - inputs.at(2).reshape([logits.rows, 1])).exp()
        let labels = try inputs.at(1).isOne(of: logits.width).converted(to: logits.element)
        let (both, all) = (try inputs.at(3).slice(0, 0..<1), try inputs.at(3).slice(0, 1..<2))
        let slopes = try both / all.squared() - labels * 2 / all
        let direction = try shares * (slopes - (shares * slopes).sum([1], keep: true))
        let weighted = try PixelLossInputs.weighted(direction, inputs.optional(5)) * (inputs.at(4) / Double(logits.width))
        return [try weighted.reshape(inputs.at(0).shape)]
    }
}

/// Logits, labels and factors of rows, as both losses take them.
private enum PixelLossInputs {
    static func check(_ inputs: [TensorType?], _ name: String) throws -> TensorType {
        guard inputs.count >= 2, let logits = inputs[0], logits.shape.count >= 2, let labels = inputs[1], labels.element == .int32,
            labels.count == logits.rows, inputs.count < 3 || inputs[2].map({ $0.count == logits.rows }) != false
        else { throw shapeError(name, "logits must be [rows, classes], labels and factors [rows]") }
        return logits
    }

    /// Rows times their factors, where there are some.
    static func weighted(_ rows: PrimitiveValue, _ weights: PrimitiveValue?) throws -> PrimitiveValue {
        guard let weights else { return rows }
        return try rows * weights.reshape([weights.type.count] + rows.shape.dropFirst().map { _ in 1 })
    }
}
