import CMRPKernels

/// What an optimiser reads anew at each step: the host sets it before the step runs.
public final class StepSettings {
    public var learningRate = 0.0
    /// 1 at the first update (for the bias corrections).
    public var step = 1
    /// Multiplies every gradient first (clipping).
    public var gradientScale = 1.0
    /// Multiplies every weight decay (its schedule).
    public var decayScale = 1.0
    /// A step may be done in parts, batch by batch, whose gradients are averaged: this part of how many.
    public var part = 0
    public var parts = 1
    /// What a teacher keeps of itself, and what averaged weights do.
    public var teacherDecay = 1.0
    public var averageDecay = 1.0

    public init() {}
}

/// One AdamW update (Loshchilov & Hutter 2019, decoupled weight decay, in torch.optim.AdamW's order) of one bound parameter; with
/// `layerWise` LAMB (You et al. 2020, as in timm).
/// Inputs: parameter, gradient, first moment, second moment (all bound but the gradient). No outputs.
public struct AdamW: Operation {
    public struct Hyperparameters {
        public var beta1 = 0.9
        public var beta2 = 0.999
        public var epsilon = 1e-8
        public var weightDecay = 0.05
        /// Multiplies the learning rate (layer-wise decay).
        public var rateScale = 1.0
        /// Scales the whole step by |parameter| / |update|.
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
    let settings: StepSettings

    public init(_ hyperparameters: Hyperparameters, settings: StepSettings) {
        self.hyperparameters = hyperparameters
        self.settings = settings
    }

    public var name: String { "adamw" }
    public var hasSideEffects: Bool { true }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try updateTypes(name, inputs, count: 4) }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (values, settings) = (hyperparameters, self.settings)
        let (pool, run, count) = (call.pool, call.kernels.adamw, Int64(call.type(0).count))
        let (parameter, gradient, first, second) = (call.input(0), call.input(1), call.input(2), call.input(3))
        return Kernel(scratch: call.kernels.update_scratch(count)) {
            var update = mk_adamw(
                count: count, parameter: parameter, first_moment: first, second_moment: second, gradient: gradient,
                learning_rate: settings.learningRate * values.rateScale, beta1: values.beta1, beta2: values.beta2,
                epsilon: values.epsilon, weight_decay: values.weightDecay * settings.decayScale, step: Int64(settings.step),
                gradient_scale: settings.gradientScale, layer_wise: values.layerWise ? 1 : 0)
            run?(pool, &update)
        }
    }
}

/// One update by gradient descent with momentum, in torch.optim.SGD's order; with `trust` LARS (You et al. 2017, as MAE's linear probe
/// uses it). Inputs: parameter, gradient, momentum buffer (all bound but the gradient). No outputs.
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
    let settings: StepSettings

    public init(_ hyperparameters: Hyperparameters, settings: StepSettings) {
        self.hyperparameters = hyperparameters
        self.settings = settings
    }

    public var name: String { "sgd" }
    public var hasSideEffects: Bool { true }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try updateTypes(name, inputs, count: 3) }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (values, settings) = (hyperparameters, self.settings)
        let (pool, run, count) = (call.pool, call.kernels.sgd, Int64(call.type(0).count))
        let (parameter, gradient, buffer) = (call.input(0), call.input(1), call.input(2))
        return Kernel(scratch: call.kernels.update_scratch(count)) {
            var update = mk_sgd(
                count: count, parameter: parameter, buffer: buffer, gradient: gradient,
                learning_rate: settings.learningRate * values.rateScale, momentum: values.momentum,
                weight_decay: values.weightDecay * settings.decayScale, trust: values.trust, gradient_scale: settings.gradientScale,
                nesterov: values.nesterov ? 1 : 0)
            run?(pool, &update)
        }
    }
}

/// average = decay average + (1 - decay) source, after the source was updated: averaged weights, teachers.
/// Inputs: average, source (both bound). No outputs.
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

    let settings: StepSettings
    let decay: KeyPath<StepSettings, Double>

    public init(settings: StepSettings, decay: KeyPath<StepSettings, Double>) {
        self.settings = settings
        self.decay = decay
    }

    public var name: String { "moving average" }
    public var hasSideEffects: Bool { true }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try updateTypes(name, inputs, count: 2) }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count, settings, decay) = (call.pool, call.kernels.blend, Int64(call.type(0).count), self.settings, self.decay)
        let (average, source) = (call.input(0), call.input(1))
        return Kernel {
            let kept = settings[keyPath: decay]
            run?(pool, count, kept, 1 - kept, source, average)
        }
    }
}

/// sum = sum + share gradient, or share gradient in the first part of a step: gradients of a step that is done in parts.
/// Inputs: sum (bound), gradient. No outputs.
public struct SumGradient: Operation {
    let settings: StepSettings

    public init(settings: StepSettings) { self.settings = settings }

    public var name: String { "sum of gradients" }
    public var hasSideEffects: Bool { true }
    public var isUpdate: Bool { false }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try updateTypes(name, inputs, count: 2) }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count, settings) = (call.pool, call.kernels.blend, Int64(call.type(0).count), self.settings)
        let (sum, gradient) = (call.input(0), call.input(1))
        return Kernel { run?(pool, count, settings.part == 0 ? 0 : 1, 1 / Double(settings.parts), gradient, sum) }
    }
}

private func updateTypes(_ name: String, _ inputs: [TensorType?], count: Int) throws -> [TensorType] {
    guard inputs.count == count, let parameter = inputs[0], inputs.allSatisfy({ $0?.count == parameter.count }) else {
        throw shapeError(name, "parameter, gradient and moments must have the same shape")
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
        return Kernel(scratch: call.kernels.update_scratch(count)) { run?(pool, count, x, out) }
    }
}

extension AdamW {
    public var updatedInputs: [Int] { [0, 2, 3] }

    /// After the tensors: learning rate, step, decay scale, gradient scale.
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (p, rate, step) = try (inputs.at(0), inputs.at(4) * hyperparameters.rateScale, inputs.at(5))
        let (beta1, beta2) = (hyperparameters.beta1, hyperparameters.beta2)
        let decay = try inputs.at(6) * hyperparameters.weightDecay
        let g = try inputs.at(1).reshape(p.shape) * inputs.at(7)
        let m = try inputs.at(2) * beta1 + g * (1 - beta1)
        let v = try inputs.at(3) * beta2 + g.squared() * (1 - beta2)
        let correction1 = try 1 - beta1.power(step)
        let correction2 = try 1 - beta2.power(step)
        let u = try m / correction1 / (v.sqrt() / correction2.sqrt() + hyperparameters.epsilon)
        guard hyperparameters.layerWise else { return try [p * (1 - rate * decay) - u * rate, m, v] }
        let whole = try u + p * decay
        return try [p - whole * (rate * p.relativeNorm(to: whole)), m, v]
    }
}

extension SGD {
    public var updatedInputs: [Int] { [0, 2] }

    /// After the tensors: learning rate, decay scale, gradient scale.
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (p, rate) = try (inputs.at(0), inputs.at(3) * hyperparameters.rateScale)
        var g = try inputs.at(1).reshape(p.shape) * inputs.at(5) + p * (inputs.at(4) * hyperparameters.weightDecay)
        if hyperparameters.trust > 0 { g = try g * p.relativeNorm(to: g, hyperparameters.trust) }
        let buffer = try inputs.at(2) * hyperparameters.momentum + g
        return try [p - (hyperparameters.nesterov ? g + buffer * hyperparameters.momentum : buffer) * rate, buffer]
    }
}

extension MovingAverage {
    public var updatedInputs: [Int] { [0] }

    /// After the tensors: the decay.
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).blended(keep: inputs.at(2), inputs.at(1), share: 1 - inputs.at(2))]
    }
}

extension SumGradient {
    public var updatedInputs: [Int] { [0] }

    /// After the tensors: what is kept of the sum (0 in the first part of a step), the share of this part.
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).blended(keep: inputs.at(2), inputs.at(1), share: inputs.at(3))]
    }
}

extension Norm {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).squared().total().sqrt()]
    }
}

extension PrimitiveValue {
    /// keep self + share x; with keep 0 self is not read, and may be anything.
    fileprivate func blended(keep: PrimitiveValue, _ x: PrimitiveValue, share: PrimitiveValue) throws -> PrimitiveValue {
        let isKept = try (keep .> 0).broadcast(to: shape)
        return try isKept.choose(self * keep, 0) + x.reshape(shape) * share
    }

    /// factor |self| / |other|, or 1 where one of them is 0.
    fileprivate func relativeNorm(to other: PrimitiveValue, _ factor: Double = 1) throws -> PrimitiveValue {
        let (a, b) = try (squared().total(), other.squared().total())
        return try ((a .> 0) .& (b .> 0)).choose(a.sqrt() / b.sqrt() * factor, 1)
    }
}

extension Double {
    fileprivate func power(_ exponent: PrimitiveValue) throws -> PrimitiveValue {
        try PrimitiveValue.binary(.power, exponent.program.constant(self, [], exponent.element), exponent)
    }
}
