import CMRPKernels

/// Losses of maps in rows: a [..., W] against targets of as many elements, with factors [rows] of the rows' losses or none; a place whose target
/// is below 0 has none. The loss is the mean over rows of factor times the row's loss, where places without a target add 0.
private enum MapInputs {
    static func check(_ inputs: [TensorType?], _ name: String) throws -> TensorType {
        guard inputs.count >= 2, let a = inputs[0], let b = inputs[1], a.element == .real, a.count == b.count, a.shape.count >= 1,
            inputs.count < 3 || inputs[2].map({ $0.count == a.rows }) != false
        else { throw shapeError(name, "maps and targets must have as many elements, factors one for each row") }
        return a
    }

    static func problem(_ call: KernelCall, factors: Int = 2) -> mk_maps {
        var problem = mk_maps()
        (problem.rows, problem.width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        problem.a = call.input(0).map { UnsafeRawPointer($0) }
        problem.b = call.input(1).map { UnsafeRawPointer($0) }
        problem.factors = call.input(factors).map { UnsafeRawPointer($0) }
        (problem.positive, problem.negative) = (1, 1)
        return problem
    }

    /// Each place's loss, or its slope, times the factor of its row; 0 without a target.
    static func weighted(_ places: PrimitiveValue, _ targets: PrimitiveValue, _ factors: PrimitiveValue?) throws -> PrimitiveValue {
        let known = try (targets .>= 0).choose(places, 0)
        guard let factors else { return known }
        return try known * factors.reshape([known.shape[0], 1])
    }
}

/// Binary cross entropy of logits with soft targets, and its focal form (Lin et al. 2017, "Focal Loss for Dense Object Detection"): the mean over
/// places of t positive (1 - p)^gamma (-log p) + (1 - t) negative p^gamma (-log(1 - p)), p = sigmoid(logit).
///
/// Inputs: logits [..., W], targets (no gradient flows to them), factors [rows] or none; a target below 0 is none. Output: the loss, a scalar.
public struct BinaryCrossEntropy: Operation {
    let positive: Double
    let negative: Double
    let gamma: Double

    public init(positive: Double = 1, negative: Double = 1, gamma: Double = 0) {
        (self.positive, self.negative, self.gamma) = (positive, negative, gamma)
    }

    public var name: String { "binary cross entropy" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        _ = try MapInputs.check(inputs, name)
        return [TensorType([])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.inputs[1], gradient] + node.inputs.dropFirst(2)
        return node.gradients(try graph.apply(BinaryCrossEntropyGradient(loss: self), inputs))
    }

    func problem(_ call: KernelCall, factors: Int) -> mk_maps {
        var problem = MapInputs.problem(call, factors: factors)
        (problem.positive, problem.negative, problem.gamma) = (positive, negative, gamma)
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, loss, problem) = (call.pool, call.kernels.logit_entropy, call.outputs[0], problem(call, factors: 2))
        return Kernel(scratch: withUnsafePointer(to: problem) { call.kernels.maps_scratch($0) }) {
            withUnsafePointer(to: problem) { run(pool, $0, loss) }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0).matrix(), t = try inputs.at(1).reshape(x.shape)
        let (yes, no) = (try x.logSigmoid(), try (0 - x).logSigmoid())
        let losses = try t * (no * gamma).exp() * yes * positive + (1 - t) * (yes * gamma).exp() * no * negative
        return [try 0 - MapInputs.weighted(losses, t, inputs.optional(2)).mean([0, 1])]
    }
}

/// Inputs: logits, targets, the loss's gradient, factors or none.
struct BinaryCrossEntropyGradient: Operation {
    let loss: BinaryCrossEntropy

    var name: String { "binary cross entropy gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let logits = inputs.first ?? nil else { throw shapeError(name, "needs logits") }
        return [logits]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, problem) = (call.pool, call.kernels.logit_entropy_gradient, loss.problem(call, factors: 3))
        let (gradient, output) = (call.input(2), call.outputs[0])
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0, gradient, output) } }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0).matrix(), t = try inputs.at(1).reshape(x.shape), gamma = loss.gamma
        let (yes, no) = (try x.logSigmoid(), try (0 - x).logSigmoid())
        let (share, rest) = (try yes.exp(), try no.exp())
        let up = try t * (no * gamma).exp() * (rest - share * yes * gamma) * loss.positive
        let down = try (1 - t) * (yes * gamma).exp() * (rest * no * gamma - share) * loss.negative
        let slope = try MapInputs.weighted(0 - (up + down), t, inputs.optional(3)) * (inputs.at(2) / Double(x.type.count))
        return [try slope.reshape(inputs.at(0).shape)]
    }
}

/// A loss of two maps of probabilities, through both of which gradients flow.
///
/// Inputs: a [..., W], b (as many elements; a place of b below 0 has no target), factors [rows] or none. Output 0: the loss, a scalar.
public struct MapLoss: Operation {
    public enum Form: Sendable {
        /// The mean of -(b log a + (1 - b) log(1 - a)), a and 1 - a not below 1e-6.
        case entropy
        /// 1 - (2 sum(a b) + 1) / (sum a + sum b + 1) over a row (Milletari et al. 2016; as Mask2Former).
        case dice
        /// 1 - 2 sum(a b) / (sum a^2 + sum b^2 + 0.001) (as SOLOv2).
        case squaredDice
    }

    let form: Form
    /// Whether b is a target: no gradient flows to it.
    let isTarget: Bool

    public init(_ form: Form, isTarget: Bool = false) { (self.form, self.isTarget) = (form, isTarget) }

    public var name: String { form == .entropy ? "map cross entropy" : "map dice loss" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let a = try MapInputs.check(inputs, name)
        return form == .entropy ? [TensorType([])] : [TensorType([]), TensorType([a.rows, 2])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let wanted = [node.wanted[0], node.wanted[1] && !isTarget]
        guard wanted.contains(true) else { return node.noGradients }
        let sums = form == .entropy ? nil : node.outputs[1]
        let inputs = [node.inputs[0], node.inputs[1], sums, gradient] + node.inputs.dropFirst(2)
        var outputs = try graph.apply(MapLossGradient(form: form, wantsA: wanted[0], wantsB: wanted[1]), inputs)[...]
        return node.gradients(wanted.map { $0 ? outputs.removeFirst() : nil })
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = MapInputs.problem(call)
        problem.squared = form == .squaredDice ? 1 : 0
        let (pool, kernels, outputs, prepared, isEntropy) = (call.pool, call.kernels, call.outputs, problem, form == .entropy)
        return Kernel(scratch: withUnsafePointer(to: problem) { kernels.maps_scratch($0) }) {
            withUnsafePointer(to: prepared) {
                if isEntropy { kernels.map_entropy(pool, $0, outputs[0]) } else { kernels.map_dice(pool, $0, outputs[1], outputs[0]) }
            }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let a = try inputs.at(0).matrix(), b = try inputs.at(1).reshape(a.shape)
        if form == .entropy {
            let losses = try b * a.clamped(1e-6, 2).log() + (1 - b) * (1 - a).clamped(1e-6, 2).log()
            return [try 0 - MapInputs.weighted(losses, b, inputs.optional(2)).mean([0, 1])]
        }
        let isKnown = try b .>= 0
        let both = try isKnown.choose(a * b, 0).sum([1], keep: true) * 2 + (form == .dice ? 1 : 0)
        let each = try form == .dice ? a + b : a.squared() + b.squared()
        let all = try isKnown.choose(each, 0).sum([1], keep: true) + (form == .dice ? 1 : 0.001)
        var losses = try (1 - both / all).reshape([a.shape[0]])
        if let factors = inputs.optional(2) { losses = try losses * factors.reshape(losses.shape) }
        return [try losses.mean([0]), try PrimitiveValue.concatenate([both, all], 1)]
    }
}

/// Inputs: a, b, the sums of dice or none, the loss's gradient, factors or none. Outputs: those wanted of da, db.
struct MapLossGradient: Operation {
    let form: MapLoss.Form
    let wantsA: Bool
    let wantsB: Bool

    var name: String { form == .entropy ? "map cross entropy gradient" : "map dice loss gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 4, let a = inputs[0], let b = inputs[1] else { throw shapeError(name, "needs both maps") }
        return (wantsA ? [a] : []) + (wantsB ? [b] : [])
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = MapInputs.problem(call, factors: 4)
        problem.squared = form == .squaredDice ? 1 : 0
        let (pool, kernels, prepared, isEntropy) = (call.pool, call.kernels, problem, form == .entropy)
        let (sums, gradient) = (call.input(2), call.input(3))
        let (da, db) = (wantsA ? call.outputs[0] : nil, wantsB ? call.outputs[wantsA ? 1 : 0] : nil)
        return Kernel {
            withUnsafePointer(to: prepared) {
                if isEntropy {
                    kernels.map_entropy_gradient(pool, $0, gradient, da, db)
                } else {
                    kernels.map_dice_gradient(pool, $0, sums, gradient, da, db)
                }
            }
        }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let a = try inputs.at(0).matrix(), b = try inputs.at(1).reshape(a.shape)
        let slopes = try form == .entropy ? entropySlopes(a, b) : diceSlopes(a, b, inputs.at(2))
        let factor = try inputs.at(3) / Double(form == .entropy ? a.type.count : a.shape[0])
        func gradient(_ slope: PrimitiveValue, _ shape: [Int]) throws -> PrimitiveValue {
            try (MapInputs.weighted(slope, b, inputs.optional(4)) * factor).reshape(shape)
        }
        return try (wantsA ? [gradient(slopes.a, inputs.at(0).shape)] : []) + (wantsB ? [gradient(slopes.b, inputs.at(1).shape)] : [])
    }

    private func entropySlopes(_ a: PrimitiveValue, _ b: PrimitiveValue) throws -> (a: PrimitiveValue, b: PrimitiveValue) {
        let rest = try 1 - a, (share, kept) = (try a.clamped(1e-6, 2), try rest.clamped(1e-6, 2))
        let (pull, push) = (try (a .>= 1e-6).choose(b / share, 0), try (rest .>= 1e-6).choose((1 - b) / kept, 0))
        return (try push - pull, try kept.log() - share.log())
    }

    private func diceSlopes(
        _ a: PrimitiveValue, _ b: PrimitiveValue, _ sums: PrimitiveValue
    ) throws -> (a: PrimitiveValue, b: PrimitiveValue) {
        let (both, all) = (try sums.slice(1, 0..<1), try sums.slice(1, 1..<2))
        let pull = try both / all.squared()
        func slope(_ own: PrimitiveValue, _ other: PrimitiveValue) throws -> PrimitiveValue {
            try (form == .squaredDice ? own * pull * 2 : pull.broadcast(to: own.shape)) - other * 2 / all
        }
        return (try slope(a, b), try slope(b, a))
    }
}
