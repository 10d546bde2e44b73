import CMRPKernels

/// What an optimiser reads anew at each step: the host sets it before the step runs.
public final class StepSettings {
    public var learningRate = 0.0
    /// 1 at the first update (for the bias corrections).
    public var step = 1
    /// Multiplies every gradient first (1 / accumulation, clipping).
    public var gradientScale = 1.0

    public init() {}
}

/// One AdamW update (Loshchilov & Hutter 2019, decoupled weight decay, in torch.optim.AdamW's order) of one bound parameter.
/// Inputs: parameter, gradient, first moment, second moment (all bound but the gradient). No outputs.
public struct AdamW: Operation {
    public struct Hyperparameters {
        public var beta1 = 0.9
        public var beta2 = 0.999
        public var epsilon = 1e-8
        public var weightDecay = 0.05
        /// Multiplies the learning rate (layer-wise decay).
        public var rateScale = 1.0

        public init(
            beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 0.05,
            rateScale: Double = 1
        ) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.rateScale = rateScale
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

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 4, let parameter = inputs[0], inputs.allSatisfy({ $0?.count == parameter.count }) else {
            throw shapeError(name, "parameter, gradient and moments must have the same shape")
        }
        return []
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (values, settings) = (hyperparameters, self.settings)
        let (pool, run, count) = (call.pool, call.kernels.adamw, Int64(call.type(0).count))
        let (parameter, gradient, first, second) = (call.input(0), call.input(1), call.input(2), call.input(3))
        return Kernel {
            var update = mk_adamw(
                count: count, parameter: parameter, first_moment: first, second_moment: second, gradient: gradient,
                learning_rate: settings.learningRate * values.rateScale, beta1: values.beta1, beta2: values.beta2,
                epsilon: values.epsilon, weight_decay: values.weightDecay, step: Int64(settings.step),
                gradient_scale: settings.gradientScale)
            run?(pool, &update)
        }
    }
}
