import MRPEngine

/// Builds a graph from named weights: `linear("blocks.0.mlp.fc1", x)` finds `.weight` and `.bias` by itself.
public struct NetworkBuilder {
    public let graph: Graph
    let specifications: [String: ParameterSpecification]
    /// Epsilon of every norm.
    let epsilon: Double
    /// Whether batch norms take the statistics of the batch, or the running ones; then no gradient passes through them.
    private(set) var isTraining: Bool
    /// Which branches are left out at random; nil: none.
    private(set) var dropPath: DropPath?
    let mixtureContext: MixtureContext
    /// Begins every name: that of a teacher's weights, which are named as the encoder's. A teacher keeps no running statistics.
    private var prefix = ""

    /// `companions`: weights that training has beside the network's.
    public init(
        _ graph: Graph, _ parameters: Parameters, epsilon: Double, training: Bool = false, dropPath: DropPath? = nil,
        mixture: MixtureContext = MixtureContext(), companions: [ParameterSpecification] = []
    ) {
        self.graph = graph
        self.epsilon = epsilon
        isTraining = training
        self.dropPath = dropPath
        mixtureContext = mixture
        specifications = Dictionary(uniqueKeysWithValues: (parameters.specifications + companions).map { ($0.name, $0) })
    }

    /// A builder that finds the weights whose names begin so. In training its batch norms take the statistics of the teacher's own batch, as
    /// the momentum encoders of the field do; running ones are left alone.
    public func teacher(_ prefix: String) -> NetworkBuilder {
        NetworkBuilder(of: self, prefix: self.prefix + prefix)
    }

    /// A builder of a part of the network that is not trained: its batch norms take their running statistics, no branch is left out.
    public var frozen: NetworkBuilder {
        var result = self
        (result.isTraining, result.dropPath) = (false, nil)
        return result
    }

    private init(of other: NetworkBuilder, prefix: String) {
        (graph, specifications, epsilon) = (other.graph, other.specifications, other.epsilon)
        (isTraining, dropPath) = (other.isTraining, nil)
        self.prefix = prefix
        var mixture = other.mixtureContext
        mixture.routers = nil
        mixtureContext = mixture
    }

    public func weight(_ name: String) throws -> Value {
        let name = prefix + name
        guard let specification = specifications[name] else {
            throw MRPError(.state, "the model has no weight named '\(name)'")
        }
        return graph.bound(name, TensorType(specification.shape))
    }

    func has(_ weight: String) -> Bool { specifications[prefix + weight] != nil }

    /// x W^T + b, optionally through GELU or with a residual added; without b where the network has none.
    public func linear(_ name: String, _ x: Value, gelu: Bool = false, residual: Value? = nil) throws -> Value {
        let product = MatrixProduct(transposeB: true, activation: gelu ? .gelu : .none)
        let bias = has(name + ".bias") ? try weight(name + ".bias") : nil
        return try graph.apply(product, [x, weight(name + ".weight"), bias, residual])[0]
    }

    public func layerNorm(_ name: String, _ x: Value) throws -> Value {
        try graph.apply(LayerNorm(epsilon: epsilon), [x, weight(name + ".weight"), weight(name + ".bias")])[0]
    }

    /// Batch norm over all rows of x, then, when asked for, the residual and the activation; without scale and shift where the network has none. With
    /// running statistics it becomes part of the convolution that makes x, and has no gradient.
    public func batchNorm(
        _ name: String, _ x: Value, _ activation: BatchNorm.Activation = .none, residual: Value? = nil, epsilon: Double? = nil
    ) throws -> Value {
        let running = try [weight(name + ".running_mean"), weight(name + ".running_var")]
        let (gamma, beta) =
            try has(name + ".weight") ? (weight(name + ".weight"), weight(name + ".bias")) : neutral(graph.type(of: x).width)
        guard isTraining else {
            return try graph.frozenBatchNorm(
                x, gamma: gamma, beta: beta, mean: running[0], variance: running[1], residual: residual, epsilon: epsilon ?? self.epsilon,
                activation: activation)
        }
        let outputs = try graph.apply(BatchNorm(epsilon: epsilon ?? self.epsilon, activation: activation), [x, gamma, beta, residual])
        guard prefix.isEmpty else { return outputs[0] }
        try graph.apply(RunningStatistics(rows: graph.type(of: x).rows), running + outputs[1...])
        return outputs[0]
    }

    /// A scale of 1 and a shift of 0.
    private func neutral(_ width: Int) throws -> (Value, Value) {
        let (ones, zeros) = (try Tensor([width]), try Tensor([width]))
        ones.float32.update(repeating: 1)
        return (graph.constant(ones), graph.constant(zeros))
    }

    /// A scalar that a trainer shows as a progress value of this name, beside the losses.
    public func report(_ scalar: Value, as name: String) { graph.mark(scalar, as: Self.reportPrefix + name) }

    /// Begins the marks of such scalars.
    public static let reportPrefix = "report/"

    /// residual + the branch that `last` makes; where branches may be left out, `last` gets no residual to add.
    func branch(block: Int?, _ number: Int, residual: Value, last: (Value?) throws -> Value) throws -> Value {
        guard let block, let dropPath, dropPath.rate(block: block) > 0 else { return try last(residual) }
        let factors = graph.input(
            DropPath.input(block: block, branch: number), TensorType([graph.shape(of: residual)[0]]), filledBy: .schedule)
        return try graph.apply(ScaleImages(), [last(nil), factors, residual])[0]
    }

    public func gather(
        _ x: Value, ids: Value? = nil, fill: Value? = nil, table: Value? = nil, tableIds: Value? = nil
    ) throws -> Value {
        try graph.apply(GatherTokens(), [x, ids, fill, table, tableIds])[0]
    }
}

/// The weights of a linear layer [out, in] with bias.
public func linearParameters(_ name: String, from inputs: Int, to outputs: Int) -> [ParameterSpecification] {
    [
        ParameterSpecification(name + ".weight", [outputs, inputs], .xavierUniform),
        ParameterSpecification(name + ".bias", [outputs], .zeros, role: .bias),
    ]
}

/// Scale and shift of a layer norm.
public func layerNormParameters(_ name: String, width: Int) -> [ParameterSpecification] {
    [
        ParameterSpecification(name + ".weight", [width], .ones, role: .norm),
        ParameterSpecification(name + ".bias", [width], .zeros, role: .norm),
    ]
}

/// With the running statistics, which are not trained.
public func batchNormParameters(_ name: String, width: Int) -> [ParameterSpecification] {
    layerNormParameters(name, width: width) + [
        ParameterSpecification(name + ".running_mean", [width], .zeros, role: .statistic),
        ParameterSpecification(name + ".running_var", [width], .ones, role: .statistic),
    ]
}
