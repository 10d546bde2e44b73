import CMRPKernels

/// y = x / max(|x|, 1e-12) per row (torch's normalize). Outputs: y, the lengths [rows].
public struct UnitRows: Operation {
    public init() {}

    public var name: String { "unit rows" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil else { throw shapeError(name, "needs an input") }
        return [x, TensorType([x.rows])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(UnitRowsGradient(), [node.outputs[0], node.outputs[1], gradient])[0]]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, x, outputs) = (call.pool, call.kernels.unit_rows, call.input(0), call.outputs)
        return Kernel { run(pool, rows, width, x, outputs[0], outputs[1]) }
    }
}

/// Inputs: y, lengths, dy. Output: dx.
struct UnitRowsGradient: Operation {
    var name: String { "unit rows gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let y = inputs.first ?? nil else { throw shapeError(name, "needs rows") }
        return [y]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, inputs, dx) = (call.pool, call.kernels.unit_rows_gradient, call.inputs, call.outputs[0])
        return Kernel { run(pool, rows, width, inputs[0], inputs[1], inputs[2], dx) }
    }
}

/// The mean of each class's rows goes on with a batch: mean = (n mean + sum of its rows) / (n + c), count = n + c.
///
/// Inputs: x [B, W], labels [B] int32, means [C, W], counts [C]. Outputs: the new means and counts. No gradient: an estimate. Devices that share
/// a batch estimate from all of it.
public struct ClassMeans: Operation {
    public init() {}

    public var name: String { "class means" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 4, let x = inputs[0], let labels = inputs[1], labels.element == .int32, labels.count == x.rows,
            let means = inputs[2], means.shape.count == 2, means.width == x.width, let counts = inputs[3], counts.shape == [means.rows]
        else { throw shapeError(name, "takes x [rows, width], labels [rows], means [classes, width], counts [classes]") }
        return [means, counts]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width, classes) = (Int64(call.type(0).rows), Int64(call.type(0).width), Int64(call.type(2).rows))
        let (pool, run, inputs, outputs) = (call.pool, call.kernels.class_means, call.inputs, call.outputs)
        let labels = call.indices(1)
        return Kernel(scratch: call.kernels.class_means_scratch(width)) {
            run(pool, rows, width, classes, inputs[0], labels, inputs[2], inputs[3], outputs[0], outputs[1])
        }
    }
}

/// Contrastive scores of unit features against classes with von Mises-Fisher distributions (Du et al. 2024, ProCo): the log of the mean of
/// exp(x.z / temperature) over the distribution of each class, in closed form (`von_mises_fisher.h`).
///
/// Inputs: z [B, W] of length 1, means [C, W] of each class's features, counts [C] of them, images [C] of each class. Output: scores [B, C].
/// The gradient flows to z alone, as the derivative in the cosine: what is along z itself belongs to the length.
public struct ContrastScores: Operation, Sendable {
    let temperature: Double
    let unbiased: Bool
    let views: Int

    /// The smallest width for which the estimate of a concentration is meant.
    public static let smallestWidth = 16

    public init(temperature: Double, unbiased: Bool = false, views: Int = 1) {
        self.temperature = temperature
        self.unbiased = unbiased
        self.views = views
    }

    public var name: String { "contrast scores" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 4, let z = inputs[0], let means = inputs[1], means.shape.count == 2, means.width == z.width,
            inputs[2]?.shape == [means.rows], inputs[3]?.shape == [means.rows], z.width >= Self.smallestWidth
        else { throw shapeError(name, "takes z [rows, width], means [classes, width], counts and images [classes]; width 16 or more") }
        return [TensorType([z.rows, means.rows])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return node.gradients([try graph.apply(ContrastScoresGradient(scores: self), node.inputs + [gradient])[0]])
    }

    func problem(_ call: KernelCall) -> mk_contrast {
        var problem = mk_contrast()
        problem.rows = Int64(call.type(0).rows)
        problem.classes = Int64(call.type(1).rows)
        problem.width = Int64(call.type(0).width)
        problem.temperature = temperature
        problem.unbiased = unbiased ? 1 : 0
        problem.views = Double(views)
        problem.z = call.input(0).map { UnsafeRawPointer($0) }
        problem.means = call.input(1).map { UnsafeRawPointer($0) }
        problem.counts = call.input(2).map { UnsafeRawPointer($0) }
        problem.images = call.input(3).map { UnsafeRawPointer($0) }
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = problem(call)
        problem.scores = call.outputs[0]
        let (pool, run, prepared) = (call.pool, call.kernels.contrast_forward, problem)
        return Kernel(scratch: withUnsafePointer(to: prepared) { call.kernels.contrast_scratch($0) }) {
            withUnsafePointer(to: prepared) { run(pool, $0) }
        }
    }
}

/// Inputs: those of the scores and their gradient. Output: dz.
struct ContrastScoresGradient: Operation {
    let scores: ContrastScores

    var name: String { "contrast scores gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let z = inputs.first ?? nil else { throw shapeError(name, "needs z") }
        return [z]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = scores.problem(call)
        problem.scores_gradient = call.input(4).map { UnsafeRawPointer($0) }
        problem.z_gradient = call.outputs[0]
        let (pool, run, prepared) = (call.pool, call.kernels.contrast_backward, problem)
        return Kernel(scratch: withUnsafePointer(to: prepared) { call.kernels.contrast_scratch($0) }) {
            withUnsafePointer(to: prepared) { run(pool, $0) }
        }
    }
}
