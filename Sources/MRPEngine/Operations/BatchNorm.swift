import CMRPKernels

/// y = activation((x - mean) / sqrt(variance + epsilon) gamma + beta + residual) per channel (Ioffe & Szegedy 2015), the biased variance.
///
/// Inputs: x [..., C], gamma [C], beta [C], residual (x's shape)?, and, when the statistics are frozen, mean [C] and variance [C].
/// Outputs: y; unless frozen also mean [C] and variance [C] of this batch, over all rows of x.
public struct BatchNorm: Operation {
    let epsilon: Double
    let activation: Activation
    let frozen: Bool

    public enum Activation: Int32, Sendable {
        case none = 0
        /// max(0, v)
        case relu = 1
        /// min(max(0, v), 6)
        case relu6 = 6
    }

    enum Input {
        static let x = 0
        static let gamma = 1
        static let beta = 2
        static let residual = 3
        static let mean = 4
        static let variance = 5
    }

    public init(epsilon: Double = 1e-5, activation: Activation = .none, frozen: Bool = false) {
        self.epsilon = epsilon
        self.activation = activation
        self.frozen = frozen
    }

    public var name: String { "batch norm" }
    public var reusableInputs: [Int] { [Input.x, Input.residual] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 3, let x = inputs[Input.x], inputs[Input.gamma]?.shape == [x.width], inputs[Input.beta]?.shape == [x.width]
        else { throw shapeError(name, "scale and shift must have the width of x") }
        if inputs.count > Input.residual, let residual = inputs[Input.residual], residual != x {
            throw shapeError(name, "residual of shape \(residual.shape) for x of shape \(x.shape)")
        }
        guard frozen else { return [x, TensorType([x.width]), TensorType([x.width])] }
        guard inputs.count > Input.variance, inputs[Input.mean]?.shape == [x.width], inputs[Input.variance]?.shape == [x.width] else {
            throw shapeError(name, "frozen statistics must have the width of x")
        }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let mean = frozen ? node.inputs[Input.mean] : node.outputs[1]
        let variance = frozen ? node.inputs[Input.variance] : node.outputs[2]
        let isRectified = activation != .none
        let wantsResidual = node.wanted.count > Input.residual && node.wanted[Input.residual]
        let operation = BatchNormGradient(norm: self, wantsResidual: wantsResidual && isRectified)
        let outputs = try graph.apply(
            operation, [node.inputs[Input.x], node.inputs[Input.gamma], mean, variance, isRectified ? node.outputs[0] : nil, gradient])
        var result = [Value?](repeating: nil, count: node.inputs.count)
        for index in [Input.x, Input.gamma, Input.beta] where node.wanted[index] { result[index] = outputs[index] }
        // Without a ReLU the residual's gradient is that of the sum itself.
        if wantsResidual { result[Input.residual] = isRectified ? outputs[3] : gradient }
        return result
    }

    func problem(_ x: TensorType) -> mk_batch_norm {
        var problem = mk_batch_norm()
        problem.rows = Int64(x.rows)
        problem.width = Int64(x.width)
        problem.epsilon = epsilon
        problem.relu = activation.rawValue
        problem.frozen = frozen ? 1 : 0
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = problem(call.type(Input.x))
        problem.x = call.input(Input.x).map { UnsafeRawPointer($0) }
        problem.gamma = call.input(Input.gamma).map { UnsafeRawPointer($0) }
        problem.beta = call.input(Input.beta).map { UnsafeRawPointer($0) }
        problem.residual = call.input(Input.residual).map { UnsafeRawPointer($0) }
        problem.y = call.outputs[0]
        let (mean, variance) = frozen ? (call.input(Input.mean), call.input(Input.variance)) : (call.outputs[1], call.outputs[2])
        problem.mean = mean.map { UnsafeRawPointer($0) }
        problem.variance = variance.map { UnsafeRawPointer($0) }
        let (pool, run, moments, prepared) = (call.pool, call.kernels.batch_norm_forward, call.kernels.column_moments, problem)
        var scratch = withUnsafePointer(to: prepared) { call.kernels.batch_norm_scratch($0) }
        if frozen { return Kernel(scratch: scratch) { withUnsafePointer(to: prepared) { run(pool, $0) } } }
        let other = call.kernels.column_moments_scratch(prepared.rows, prepared.width)
        scratch.shared = max(scratch.shared, other.shared)
        scratch.per_worker = max(scratch.per_worker, other.per_worker)
        return Kernel(scratch: scratch) {
            moments(pool, prepared.rows, prepared.width, prepared.x, mean, variance)
            withUnsafePointer(to: prepared) { run(pool, $0) }
        }
    }
}

/// Inputs: x, gamma, mean, variance, y (after a ReLU), dy. Outputs: dx, dgamma, dbeta, and dresidual when wanted.
struct BatchNormGradient: Operation {
    let norm: BatchNorm
    let wantsResidual: Bool

    var name: String { "batch norm gradient" }
    var reusableInputs: [Int] { [5] }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs[0], let gamma = inputs[1] else { throw shapeError(name, "needs x and gamma") }
        return [x, gamma, gamma] + (wantsResidual ? [x] : [])
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = norm.problem(call.type(0))
        problem.x = call.input(0).map { UnsafeRawPointer($0) }
        problem.gamma = call.input(1).map { UnsafeRawPointer($0) }
        problem.mean = call.input(2).map { UnsafeRawPointer($0) }
        problem.variance = call.input(3).map { UnsafeRawPointer($0) }
        problem.y = call.input(4)
        problem.y_gradient = call.input(5).map { UnsafeRawPointer($0) }
        problem.x_gradient = call.outputs[0]
        problem.gamma_gradient = call.outputs[1]
        problem.beta_gradient = call.outputs[2]
        problem.residual_gradient = wantsResidual ? call.outputs[3] : nil
        let (pool, run, prepared) = (call.pool, call.kernels.batch_norm_backward, problem)
        return Kernel(scratch: withUnsafePointer(to: prepared) { call.kernels.batch_norm_scratch($0) }) {
            withUnsafePointer(to: prepared) { run(pool, $0) }
        }
    }
}

/// running = (1 - momentum) running + momentum of the batch, with the unbiased variance, as torch.nn.BatchNorm2d keeps them.
///
/// Inputs: running mean, running variance (both bound), mean, variance (biased, over `rows` rows). No outputs.
public struct RunningStatistics: Operation {
    let rows: Int
    let momentum: Double

    public init(rows: Int, momentum: Double = 0.1) {
        self.rows = rows
        self.momentum = momentum
    }

    public var name: String { "running statistics" }
    public var updatedInputs: [Int] { [0, 1] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 4, let first = inputs[0], inputs.allSatisfy({ $0 == first }) else {
            throw shapeError(name, "statistics must have the same shape")
        }
        return []
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, momentum, count) = (call.pool, call.kernels.blend, self.momentum, Int64(call.type(0).count))
        let unbiased = Double(rows) / Double(max(rows - 1, 1))
        let (runningMean, runningVariance, mean, variance) = (call.input(0), call.input(1), call.input(2), call.input(3))
        return Kernel {
            run(pool, count, 1 - momentum, momentum, mean, runningMean)
            run(pool, count, 1 - momentum, momentum * unbiased, variance, runningVariance)
        }
    }
}

extension BatchNorm {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(Input.x)
        let (mean, variance): (PrimitiveValue, PrimitiveValue)
        if frozen {
            (mean, variance) = try (inputs.at(Input.mean), inputs.at(Input.variance))
        } else {
            let moments = try x.centered(x.leading)
            (mean, variance) = try (moments.mean.reshape([x.width]), moments.variance.reshape([x.width]))
        }
        var y = try (x - mean) * (variance + epsilon).rsqrt() * inputs.at(Input.gamma) + inputs.at(Input.beta)
        if let residual = inputs.optional(Input.residual) { y = try y + residual }
        return try [y.activated(activation)] + (frozen ? [] : [mean, variance])
    }
}

extension BatchNormGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (x, gamma) = try (inputs.at(0), inputs.at(1))
        var dz = try inputs.at(5)
        if norm.activation != .none {
            let y = try inputs.at(4)
            let isOpen = try norm.activation == .relu6 ? (y .> 0) .& (y .< 6) : y .> 0
            dz = try isOpen.choose(dz, 0)
        }
        let inverse = try (inputs.at(3) + norm.epsilon).rsqrt()
        let h = try (x - inputs.at(2)) * inverse
        let (dgamma, dbeta) = try ((dz * h).sum(x.leading), dz.sum(x.leading))
        let inner = try norm.frozen ? dz : dz - dbeta / Double(x.rows) - h * (dgamma / Double(x.rows))
        return try [gamma * inverse * inner, dgamma, dbeta] + (wantsResidual ? [dz] : [])
    }
}

extension RunningStatistics {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let unbiased = try inputs.at(3) * (Double(rows) / Double(max(rows - 1, 1)))
        return try [(inputs.at(0), inputs.at(2)), (inputs.at(1), unbiased)].map {
            try $0 * (1 - momentum) + program.meanOverReplicas($1) * momentum
        }
    }
}
