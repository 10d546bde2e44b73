import MRPEngine
import MRPModels

/// Updates of all trainable weights that a loss depends on: the gradient nodes, the update nodes and the moments.
public final class Optimizer {
    /// AdamW, SGD with momentum, and their layer-wise scaled forms for large batches.
    public enum Method: String, CaseIterable, Sendable {
        case adamw, sgd, lars, lamb

        var usesMomentumOnly: Bool { self == .sgd || self == .lars }
    }

    public struct Settings: Equatable, Sendable {
        public var method = Method.adamw
        public var beta1 = 0.9
        public var beta2 = 0.999
        public var epsilon = 1e-8
        public var momentum = 0.9
        public var nesterov = false
        /// LARS's trust coefficient.
        public var trust = 1e-3
        public var weightDecay = 0.05
        /// Layer-wise learning-rate decay: a weight of layer id i learns at decay^(depth + 1 - i) of the rate (1: all alike).
        public var layerDecay = 1.0
        /// Whether the class and mask tokens, and learned positions, are decayed: yes in MAE's pretraining, no in its fine-tuning.
        public var decaysTokens = true
        /// Whether the norms of the gradients are computed, to find those that are not finite.
        public var measuresGradients = false
        /// Largest common norm of the gradients of a step; 0: no limit.
        public var clipLimit = 0.0
        /// Batches whose gradients are averaged for one step.
        public var accumulationSteps = 1
        /// Whether the inside of blocks is computed again for the gradients instead of being kept.
        public var recomputes = false
        /// Whether exponential moving averages of the weights are kept.
        public var averagesWeights = false
        /// Whether several devices share a batch, and the gradients are means over them.
        public var sharesBatch = false

        public init() {}
    }

    /// Moments and averages by name (`first_moment/blocks.0...`, `momentum/...`, `average/...`): what a checkpoint keeps.
    public private(set) var moments: [String: Tensor] = [:]
    /// Sums of gradients, which live for one step.
    private var sums: [String: Tensor] = [:]
    /// The gradients by weight name, for tests and reports; and their norms, where they are measured.
    public private(set) var gradients: [String: Value] = [:]
    public private(set) var norms: [(name: String, value: Value)] = []

    private let settings: Settings

    /// Appends gradients and updates to the graph, of the model's weights and of their companions in training. Moments start at zero, averages at the weights. The objective says what is trained and what
    /// follows other weights; nil: all is trained.
    public init(
        _ graph: Graph, loss: Value, model: Model, companions: [ParameterSpecification] = [], objective: (any TrainingObjective)? = nil,
        settings: Settings
    ) throws {
        self.settings = settings
        let trained = (model.parameters.specifications + companions).filter {
            $0.isTrainable && graph.boundValue($0.name) != nil && objective?.trains($0, of: model) ?? true
        }
        let values = trained.compactMap { graph.boundValue($0.name) }
        let byValue = try graph.gradients(of: loss, withRespectTo: values, recomputing: settings.recomputes)
        let depth = model.encoder.depth
        for (specification, value) in zip(trained, values) {
            guard var gradient = byValue[value] else { continue }
            if settings.sharesBatch { gradient = try graph.apply(ReplicaMean(), [gradient])[0] }
            if settings.accumulationSteps > 1 { gradient = try sum(graph, specification, gradient) }
            gradients[specification.name] = gradient
            if settings.measuresGradients || settings.clipLimit > 0 {
                norms.append((specification.name, try graph.apply(Norm(), [gradient])[0]))
            }
        }
        let clipScale = settings.clipLimit > 0 ? try graph.apply(ClipScale(limit: settings.clipLimit), norms.map(\.value))[0] : nil
        for (specification, value) in zip(trained, values) {
            let name = specification.name
            guard let gradient = gradients[name] else { continue }
            let isToken = specification.role == .token || specification.role == .position
            let isDecayed = specification.isDecayed && (settings.decaysTokens || !isToken)
            var rateScale = 1.0
            for _ in model.encoder.layer(of: name)..<(depth + 1) { rateScale *= settings.layerDecay }
            try update(
                graph, specification, value, gradient, clipScale: clipScale, isDecayed: isDecayed, rateScale: rateScale)
        }
        try follow(objective?.averages ?? [], graph, .teacherDecay)
        if settings.averagesWeights { try average(graph, model) }
    }

    private func sum(_ graph: Graph, _ specification: ParameterSpecification, _ gradient: Value) throws -> Value {
        let name = "sum/" + specification.name
        sums[name] = try Tensor(specification.shape)
        let sum = graph.bound(name, TensorType(specification.shape))
        try graph.apply(
            SumGradient(), [sum, gradient, graph.scalar(.accumulationKeep), graph.scalar(.accumulationShare)])
        return sum
    }

    private func average(_ graph: Graph, _ model: Model) throws {
        let followed = model.parameters.specifications.filter {
            graph.boundValue($0.name) != nil && ($0.isTrainable || $0.role == .statistic)
        }
        var pairs: [MovingAverage.Pair] = []
        for specification in followed {
            guard let weight = model.parameters[specification.name] else { continue }
            let tensor = try Tensor(specification.shape)
            tensor.copyElements(of: weight)
            let name = Self.averagePrefix + specification.name
            moments[name] = tensor
            _ = graph.bound(name, TensorType(specification.shape))
            pairs.append(MovingAverage.Pair(average: name, source: specification.name))
        }
        try follow(pairs, graph, .averageDecay)
    }

    private static let averagePrefix = "average/"

    /// The averages among the moments; none where none are kept.
    var averages: [String: Tensor] { moments.filter { $0.key.hasPrefix(Self.averagePrefix) } }

    /// Gives the model its averaged weights.
    func takeAverages(_ model: Model) {
        for (name, average) in averages {
            model.parameters[String(name.dropFirst(Self.averagePrefix.count))]?.copyElements(of: average)
        }
    }

    /// Exchanges the model's weights with their averages.
    func exchangeAverages(_ model: Model) {
        for (name, average) in averages {
            guard let weight = model.parameters[String(name.dropFirst(Self.averagePrefix.count))] else { continue }
            let (weights, averages) = (weight.float32, average.float32)
            for index in weights.indices { swap(&weights[index], &averages[index]) }
        }
    }

    /// All that the graph has bound beside the weights.
    var tensors: [String: Tensor] { moments.merging(sums) { first, _ in first } }

    /// Biases, norms and other exempt weights keep the plain rate in LARS and LAMB, as in the reference implementations.
    private func update(
        _ graph: Graph, _ specification: ParameterSpecification, _ value: Value, _ gradient: Value, clipScale: Value?, isDecayed: Bool,
        rateScale: Double
    ) throws {
        let decay = isDecayed ? settings.weightDecay : 0
        let (rate, decayScale) = (graph.scalar(.learningRate), graph.scalar(.decayScale))
        func moment(_ prefix: String) throws -> Value {
            let name = prefix + specification.name
            moments[name] = try Tensor(specification.shape)
            return graph.bound(name, TensorType(specification.shape))
        }
        if settings.method.usesMomentumOnly {
            let hyperparameters = SGD.Hyperparameters(
                momentum: settings.momentum, nesterov: settings.nesterov, weightDecay: decay, rateScale: rateScale,
                trust: settings.method == .lars && isDecayed ? settings.trust : 0)
            try graph.apply(SGD(hyperparameters), [value, gradient, moment("momentum/"), rate, decayScale, clipScale])
        } else {
            let hyperparameters = AdamW.Hyperparameters(
                beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon, weightDecay: decay, rateScale: rateScale,
                layerWise: settings.method == .lamb && isDecayed)
            try graph.apply(
                AdamW(hyperparameters),
                [
                    value, gradient, moment("first_moment/"), moment("second_moment/"), rate, decayScale, graph.scalar(.step), clipScale,
                ])
        }
    }

    /// Lets weights follow others after each step, as moving averages.
    private func follow(_ pairs: [MovingAverage.Pair], _ graph: Graph, _ decay: StepScalar) throws {
        for pair in pairs {
            guard let source = graph.boundValue(pair.source), let average = graph.boundValue(pair.average) else { continue }
            try graph.apply(MovingAverage(), [average, source, graph.scalar(decay)])
        }
    }

    /// The first weight whose gradient is not finite.
    func firstBadGradient(_ program: any Program) throws -> String? {
        try norms.first { try !program.scalar($0.value).isFinite }?.name
    }

    public var bytes: Int { tensors.values.reduce(0) { $0 + $1.bytes } }
}
