import CMRPKernels

/// Normalisation of each image by itself, channels last. The rows of an image may be visible positions only.
///
/// Inputs: x [B, T, C], gamma [C], beta [C]. Outputs: y; for the gradient mean and rstd = 1 / sqrt(variance + epsilon) [B, groups], or the
/// norms G [B, C].
public struct ImageNorm: Operation {
    public enum Kind: Equatable, Sendable {
        /// y = (x - mean) / sqrt(variance + epsilon) gamma + beta over the rows and the channels of a group (Wu & He 2018).
        case group(Int)
        /// Global response normalisation: y = x + gamma x N + beta, N = G / (average of G over channels + epsilon), G the Euclidean norm
        /// of a channel over the rows (Woo et al. 2023, ConvNeXt V2).
        case response
    }

    let kind: Kind
    let epsilon: Double

    public init(_ kind: Kind, epsilon: Double) {
        self.kind = kind
        self.epsilon = epsilon
    }

    public var name: String { kind == .response ? "response norm" : "group norm" }

    private var groups: Int { if case .group(let count) = kind { count } else { 0 } }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 3, let x = inputs[0], x.shape.count == 3, inputs[1]?.shape == [x.width], inputs[2]?.shape == [x.width] else {
            throw shapeError(name, "x must be [batch, rows, channels], scale and shift of its width")
        }
        guard kind != .response else { return [x, TensorType([x.shape[0], x.width])] }
        guard groups >= 1, x.width % groups == 0 else { throw shapeError(name, "\(groups) groups of \(x.width) channels") }
        return [x, TensorType([x.shape[0], groups]), TensorType([x.shape[0], groups])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs: [Value?] = [node.inputs[0], node.inputs[1], gradient] + node.outputs.dropFirst().map { $0 }
        return try graph.apply(ImageNormGradient(norm: self), inputs).map { $0 }
    }

    func problem(_ call: KernelCall) -> mk_image_norm {
        let x = call.type(0)
        var problem = mk_image_norm()
        problem.batch = Int64(x.shape[0])
        problem.rows = Int64(x.shape[1])
        problem.width = Int64(x.width)
        problem.groups = Int64(groups)
        problem.epsilon = epsilon
        problem.x = call.input(0).map { UnsafeRawPointer($0) }
        problem.gamma = call.input(1).map { UnsafeRawPointer($0) }
        return problem
    }

    /// `first`, `second`: outputs of the forward pass beside y.
    func keep(_ problem: inout mk_image_norm, _ first: UnsafeMutableRawPointer?, _ second: UnsafeMutableRawPointer?) {
        if kind == .response {
            problem.norms = first
        } else {
            problem.mean = first
            problem.rstd = second
        }
    }

    static func kernel(
        _ call: KernelCall, _ problem: mk_image_norm,
        _ run: @escaping @convention(c) (OpaquePointer?, UnsafePointer<mk_image_norm>?) -> Void
    ) -> Kernel {
        let pool = call.pool
        return Kernel(scratch: withUnsafePointer(to: problem) { call.kernels.image_norm_scratch($0) }) {
            withUnsafePointer(to: problem) { run(pool, $0) }
        }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = problem(call)
        problem.beta = call.input(2).map { UnsafeRawPointer($0) }
        problem.y = call.outputs[0]
        keep(&problem, call.outputs[1], call.outputs.count > 2 ? call.outputs[2] : nil)
        return Self.kernel(call, problem, kind == .response ? call.kernels.response_norm_forward : call.kernels.group_norm_forward)
    }
}

/// Inputs: x, gamma, dy, the outputs of the forward pass beside y. Outputs: dx, dgamma, dbeta.
struct ImageNormGradient: Operation {
    let norm: ImageNorm

    var name: String { "\(norm.name) gradient" }
    var reusableInputs: [Int] { [2] }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs[0], let gamma = inputs[1] else { throw shapeError(name, "needs x and gamma") }
        return [x, gamma, gamma]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = norm.problem(call)
        problem.y_gradient = call.input(2).map { UnsafeRawPointer($0) }
        norm.keep(&problem, call.input(3), call.input(4))
        problem.x_gradient = call.outputs[0]
        problem.gamma_gradient = call.outputs[1]
        problem.beta_gradient = call.outputs[2]
        let run = norm.kind == .response ? call.kernels.response_norm_backward : call.kernels.group_norm_backward
        return ImageNorm.kernel(call, problem, run)
    }
}

extension ImageNorm {
    /// [B, T, G, C / G]
    func grouped(_ x: PrimitiveValue) throws -> PrimitiveValue {
        try x.reshape([x.shape[0], x.shape[1], groups, x.width / groups])
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (x, gamma, beta) = try (inputs.at(0), inputs.at(1), inputs.at(2))
        guard kind != .response else {
            let norms = try x.squared().sum([1], keep: true).sqrt()
            let relative = try norms / (norms.mean([2], keep: true) + epsilon)
            return try [x + gamma * x * relative + beta, norms.reshape([x.shape[0], x.width])]
        }
        let (mean, difference, variance) = try grouped(x).centered([1, 3])
        let inverse = try (variance + epsilon).rsqrt()
        let kept = try [mean, inverse].map { try $0.reshape([x.shape[0], groups]) }
        return try [(difference * inverse).reshape(x.shape) * gamma + beta] + kept
    }
}

extension ImageNormGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (x, gamma, dy, kept) = try (inputs.at(0), inputs.at(1), inputs.at(2), inputs.at(3))
        let (dx, h): (PrimitiveValue, PrimitiveValue)
        if norm.kind == .response {
            let norms = try kept.reshape([x.shape[0], 1, x.width])
            let average = try norms.mean([2], keep: true) + norm.epsilon
            let g = try gamma * dy
            h = try x * norms / average
            // d norm of each channel: by itself, and by the average.
            let products = try (g * x).sum([1], keep: true) / average
            let dnorm = try products - (products * norms).mean([2], keep: true) / average
            dx = try dy + g * norms / average + (norms .> 0).choose(dnorm * x / norms, 0)
        } else {
            let shape = [x.shape[0], 1, kept.width, 1]
            let inverse = try inputs.at(4).reshape(shape)
            let (groups, g) = try ((norm.grouped(x) - kept.reshape(shape)) * inverse, norm.grouped(dy * gamma))
            h = try groups.reshape(x.shape)
            dx = try (inverse * (g - g.mean([1, 3], keep: true) - groups * (g * groups).mean([1, 3], keep: true))).reshape(x.shape)
        }
        return try [dx, (dy * h).sum([0, 1]), dy.sum([0, 1])]
    }
}
