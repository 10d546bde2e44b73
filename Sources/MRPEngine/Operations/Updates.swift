import CMRPKernels

/// One AdamW update (Loshchilov & Hutter 2019, decoupled weight decay, in torch.optim.AdamW's order) of one bound parameter; with
/// `layerWise` LAMB (You et al. 2020, as in timm).
///
/// Inputs: parameter, gradient, first moment, second moment (all bound but the gradient); float64 scalars: learning rate, decay scale?,
/// step, gradient scale? (factors, 1 when absent). No outputs.
public struct AdamW: Operation {
    public struct Hyperparameters {
        public var beta1 = 0.9
        public var beta2 = 0.999
        public var epsilon = 1e-8
        public var weightDecay = 0.05
        /// Multiplies the learning rate (layer-wise decay).
        public var rateScale = 1.0
        /// LAMB: scales the whole step by |parameter| / |update|.
        public var layerWise = false

        public init(
            beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.05,
            rateScale: Double = 1, layerWise: Bool = false
        ) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.rateScale = rateScale
            self.layerWise = layerWise
        }
    }

    let hyperparameters: Hyperparameters

    public init(_ hyperparameters: Hyperparameters) { self.hyperparameters = hyperparameters }

    public var name: String { "adamw" }
    public var updatedInputs: [Int] { [0, 2, 3] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        try updateTypes(name, inputs, tensors: 4, scalars: 4, optional: [5, 7])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let values = hyperparameters
        let (rate, decayScale, step, gradientScale) = (call.scalar(4), call.scalar(5), call.scalar(6), call.scalar(7))
        let (pool, run, count) = (call.pool, call.kernels.adamw, Int64(call.type(0).count))
        let (parameter, gradient, first, second) = (call.input(0), call.input(1), call.input(2), call.input(3))
        return Kernel(scratch: call.kernels.update_scratch(count)) {
            var update = mk_adamw(
                count: count, parameter: parameter, first_moment: first, second_moment: second, gradient: gradient,
                learning_rate: rate.value * values.rateScale, beta1: values.beta1, beta2: values.beta2,
                epsilon: values.epsilon, weight_decay: values.weightDecay * decayScale.value,
                step: Int64(min(max(1, step.value), 1e15)), gradient_scale: gradientScale.value, layer_wise: values.layerWise ? 1 : 0)
            run(pool, &update)
        }
    }
}

/// One update by gradient descent with momentum, in torch.optim.SGD's order; with `trust` LARS (You et al. 2017, as MAE's linear probe
/// uses it).
///
/// Inputs: parameter, gradient, momentum buffer (all bound but the gradient); float64 scalars: learning rate, decay scale?, gradient scale?
/// (factors, 1 when absent). No outputs.
public struct SGD: Operation {
    public struct Hyperparameters {
        public var momentum: Double
        public var nesterov: Bool
        public var weightDecay: Double
        /// Multiplies the learning rate (layer-wise decay).
        public var rateScale: Double
        /// The gradient is scaled by trust |parameter| / |gradient|; 0: not at all.
        public var trust: Double

        public init(momentum: Double = 0.9, nesterov: Bool = false, weightDecay: Double = 0, rateScale: Double = 1, trust: Double = 0) {
            self.momentum = momentum
            self.nesterov = nesterov
            self.weightDecay = weightDecay
            self.rateScale = rateScale
            self.trust = trust
        }
    }

    let hyperparameters: Hyperparameters

    public init(_ hyperparameters: Hyperparameters) { self.hyperparameters = hyperparameters }

    public var name: String { "sgd" }
    public var updatedInputs: [Int] { [0, 2] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        try updateTypes(name, inputs, tensors: 3, scalars: 3, optional: [4, 5])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let values = hyperparameters
        let (rate, decayScale, gradientScale) = (call.scalar(3), call.scalar(4), call.scalar(5))
        let (pool, run, count) = (call.pool, call.kernels.sgd, Int64(call.type(0).count))
        let (parameter, gradient, buffer) = (call.input(0), call.input(1), call.input(2))
        return Kernel(scratch: call.kernels.update_scratch(count)) {
            var update = mk_sgd(
                count: count, parameter: parameter, buffer: buffer, gradient: gradient,
                learning_rate: rate.value * values.rateScale, momentum: values.momentum,
                weight_decay: values.weightDecay * decayScale.value, trust: values.trust, gradient_scale: gradientScale.value,
                nesterov: values.nesterov ? 1 : 0)
            run(pool, &update)
        }
    }
}

/// state = value, after all work was accepted: estimates that go on from step to step.
///
/// Inputs: state (bound), value of the same type. No outputs.
public struct Assign: Operation {
    public init() {}

    public var name: String { "assign" }
    public var updatedInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let state = inputs[0], inputs[1] == state else {
            throw shapeError(name, "state and value differ in shape")
        }
        return []
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count) = (call.pool, call.kernels.blend, Int64(call.type(0).count))
        let (state, value) = (call.input(0), call.input(1))
        return Kernel { run(pool, count, 0, 1, value, state) }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] { [try inputs.at(1)] }
}

/// average = decay average + (1 - decay) source, after the source was updated: averaged weights, teachers.
///
/// Inputs: average, source (both bound); decay (float64 scalar). No outputs.
public struct MovingAverage: Operation {
    /// Names of two weights of the same shape.
    public struct Pair: Equatable, Sendable {
        public let average: String
        public let source: String

        public init(average: String, source: String) {
            self.average = average
            self.source = source
        }
    }

    public init() {}

    public var name: String { "moving average" }
    public var updatedInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try updateTypes(name, inputs, tensors: 2, scalars: 1) }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count) = (call.pool, call.kernels.blend, Int64(call.type(0).count))
        let (average, source, decay) = (call.input(0), call.input(1), call.scalar(2))
        return Kernel { run(pool, count, decay.value, 1 - decay.value, source, average) }
    }
}

/// sum = keep sum + share gradient: gradients of a step that is done in parts. Part of the work: a step that fails begins its sums anew.
///
/// Inputs: sum (bound), gradient; keep (0 in the first part of a step: the sum is not read), share (float64 scalars). No outputs.
public struct SumGradient: Operation {
    public init() {}

    public var name: String { "sum of gradients" }
    public var updatedInputs: [Int] { [0] }
    public var phase: RunPhase { .work }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try updateTypes(name, inputs, tensors: 2, scalars: 2) }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count) = (call.pool, call.kernels.blend, Int64(call.type(0).count))
        let (sum, gradient, keep, share) = (call.input(0), call.input(1), call.scalar(2), call.scalar(3))
        return Kernel { run(pool, count, keep.value, share.value, gradient, sum) }
    }
}

/// The shape rule of an update: tensors of one count, then float64 scalars, of which those at `optional` may be absent.
private func updateTypes(
    _ name: String, _ inputs: [TensorType?], tensors: Int, scalars: Int, optional: Set<Int> = []
) throws -> [TensorType] {
    guard inputs.count <= tensors + scalars, inputs.count >= tensors, let parameter = inputs[0],
        inputs[..<tensors].allSatisfy({ $0?.count == parameter.count && $0?.element == .real })
    else { throw shapeError(name, "parameter, gradient and moments must have the same shape") }
    for index in tensors..<(tensors + scalars) {
        let type = index < inputs.count ? inputs[index] : nil
        guard type.map({ $0 == TensorType([], .float64) }) ?? optional.contains(index) else {
            throw shapeError(name, "input \(index) must be a float64 scalar")
        }
    }
    return []
}

/// The square root of the sum of squares of all elements, as one number. Not differentiable: it serves clipping and reports.
public struct Norm: Operation {
    public init() {}

    public var name: String { "norm" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 1, inputs[0] != nil else { throw shapeError(name, "takes one tensor") }
        return [TensorType([])]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count) = (call.pool, call.kernels.norm, Int64(call.type(0).count))
        let (x, out) = (call.input(0), call.outputs[0])
        return Kernel(scratch: call.kernels.update_scratch(count)) { run(pool, count, x, out) }
    }
}

extension AdamW {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (p, rate, step) = try (inputs.at(0), inputs.at(4) * hyperparameters.rateScale, inputs.at(6))
        let (beta1, beta2) = (hyperparameters.beta1, hyperparameters.beta2)
        let decay = try program.factor(inputs.optional(5)) * hyperparameters.weightDecay
        let g = try inputs.at(1).reshape(p.shape) * program.factor(inputs.optional(7))
        let m = try inputs.at(2) * beta1 + g * (1 - beta1)
        let v = try inputs.at(3) * beta2 + g.squared() * (1 - beta2)
        let (correction1, correction2) = try (1 - step.exponent(of: beta1), 1 - step.exponent(of: beta2))
        let u = try m / correction1 / (v.sqrt() / correction2.sqrt() + hyperparameters.epsilon)
        guard hyperparameters.layerWise else { return try [p * (1 - rate * decay) - u * rate, m, v] }
        let whole = try u + p * decay
        return try [p - whole * (rate * p.relativeNorm(to: whole)), m, v]
    }
}

extension SGD {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (p, rate) = try (inputs.at(0), inputs.at(3) * hyperparameters.rateScale)
        let decay = try program.factor(inputs.optional(4)) * hyperparameters.weightDecay
        var g = try inputs.at(1).reshape(p.shape) * program.factor(inputs.optional(5)) + p * decay
        if hyperparameters.trust > 0 { g = try g * p.relativeNorm(to: g, hyperparameters.trust) }
        let buffer = try inputs.at(2) * hyperparameters.momentum + g
        return try [p - (hyperparameters.nesterov ? g + buffer * hyperparameters.momentum : buffer) * rate, buffer]
    }
}

extension MovingAverage {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).blended(keep: inputs.at(2), inputs.at(1), share: 1 - inputs.at(2))]
    }
}

extension SumGradient {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).blended(keep: inputs.at(2), inputs.at(1), share: inputs.at(3))]
    }
}

extension Norm {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).squared().total().sqrt()]
    }
}

extension PrimitiveBuilder {
    /// A scalar that is 1 when it is absent.
    fileprivate func factor(_ scalar: PrimitiveValue?) throws -> PrimitiveValue { try scalar ?? constant(1, [], .f64) }
}

extension PrimitiveValue {
    fileprivate func exponent(of base: Double) throws -> PrimitiveValue {
        try Self.binary(.power, program.constant(base, [], element), self)
    }

    /// keep self + share x; with keep 0 self is not read, and may be anything.
    fileprivate func blended(keep: PrimitiveValue, _ x: PrimitiveValue, share: PrimitiveValue) throws -> PrimitiveValue {
        try (keep .== 0).broadcast(to: shape)
            .choose(program.constant(0, shape, element), self * keep) + x.reshape(shape) * share
    }

    /// factor |self| / |other|, or 1 where one of them is 0.
    fileprivate func relativeNorm(to other: PrimitiveValue, _ factor: Double = 1) throws -> PrimitiveValue {
        let (a, b) = try (squared().total(), other.squared().total())
        return try ((a .> 0) .& (b .> 0)).choose(a.sqrt() / b.sqrt() * factor, 1)
    }
}
