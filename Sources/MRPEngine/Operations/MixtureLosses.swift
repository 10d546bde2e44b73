import CMRPKernels

/// Imbalance of a router's rows over the experts: the squared coefficient of variation of the experts' mean probabilities, var / mean^2
/// (Shazeer et al. 2017; Riquelme et al. 2021, V-MoE: the variance, as a standard deviation has no gradient at balance).
///
/// Input: probabilities [.., E]. Output: a scalar.
public struct BalanceLoss: Operation {
    public init() {}

    public var name: String { "balance loss" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try scalar(inputs, name) }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(BalanceLossGradient(), node.inputs + [gradient])[0]]
    }

    public func kernel(_ call: KernelCall) -> Kernel { lossKernel(call, call.kernels.balance_loss) }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (mean, _, variance) = try inputs.at(0).matrix().mean([0]).centered([0])
        return [try (variance / mean.squared()).reshape([])]
    }
}

/// Inputs: probabilities, gradient of the loss.
struct BalanceLossGradient: Operation {
    var name: String { "balance loss gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try probabilities(inputs, name) }

    func kernel(_ call: KernelCall) -> Kernel { gradientKernel(call, call.kernels.balance_gradient) }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let p = try inputs.at(0).matrix()
        let (mean, difference, variance) = try p.mean([0]).centered([0])
        let slope = try (difference - variance / mean) / mean.squared() * (2 / Double(p.width * p.rows)) * inputs.at(1)
        return [try slope.reshape([1, p.width]).broadcast(to: p.shape).reshape(inputs.at(0).shape)]
    }
}

/// Indecision of a router: the mean over rows of the entropy -sum p log(p + 1e-9). Input: probabilities [.., E]. Output: a scalar.
public struct EntropyLoss: Operation {
    public init() {}

    public var name: String { "entropy loss" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try scalar(inputs, name) }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(EntropyLossGradient(), node.inputs + [gradient])[0]]
    }

    public func kernel(_ call: KernelCall) -> Kernel { lossKernel(call, call.kernels.entropy_loss) }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let p = try inputs.at(0).matrix()
        return [try (p * (p + 1e-9).log()).total() * (-1 / Double(p.rows))]
    }
}

/// Inputs: probabilities, gradient of the loss.
struct EntropyLossGradient: Operation {
    var name: String { "entropy loss gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { try probabilities(inputs, name) }

    func kernel(_ call: KernelCall) -> Kernel { gradientKernel(call, call.kernels.entropy_gradient) }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let p = try inputs.at(0)
        let slope = try (p + 1e-9).log() + p / (p + 1e-9)
        return [try slope * (inputs.at(1) * (-1 / Double(p.rows)))]
    }
}

private func probabilities(_ inputs: [TensorType?], _ name: String) throws -> [TensorType] {
    guard let p = inputs.first ?? nil, p.width >= 1, p.rows >= 1 else { throw shapeError(name, "needs probabilities [rows, experts]") }
    return [p]
}

private func scalar(_ inputs: [TensorType?], _ name: String) throws -> [TensorType] {
    _ = try probabilities(inputs, name)
    return [TensorType([])]
}

private typealias LossFunction =
    @convention(c) (
        OpaquePointer?, Int64, Int64, UnsafeRawPointer?, UnsafeMutableRawPointer?
    ) -> Void
private typealias GradientFunction =
    @convention(c) (
        OpaquePointer?, Int64, Int64, UnsafeRawPointer?, UnsafeRawPointer?, UnsafeMutableRawPointer?
    ) -> Void

private func lossKernel(_ call: KernelCall, _ run: @escaping LossFunction) -> Kernel {
    let (rows, experts) = (Int64(call.type(0).rows), Int64(call.type(0).width))
    let (pool, p, loss) = (call.pool, call.input(0), call.outputs[0])
    return Kernel { run(pool, rows, experts, p, loss) }
}

private func gradientKernel(_ call: KernelCall, _ run: @escaping GradientFunction) -> Kernel {
    let (rows, experts) = (Int64(call.type(0).rows), Int64(call.type(0).width))
    let (pool, p, gradient, output) = (call.pool, call.input(0), call.input(1), call.outputs[0])
    return Kernel { run(pool, rows, experts, p, gradient, output) }
}
