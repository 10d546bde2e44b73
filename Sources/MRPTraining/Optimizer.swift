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
        /// Whether only the classifier head learns: a linear probe of a frozen encoder.
        public var trainsHeadOnly = false
        /// Whether the norms of the gradients are computed, for clipping.
        public var measuresGradients = false

        public init() {}
    }

    /// Moments by name (`first_moment/blocks.0...`, `momentum/...`), and what each step reads.
    public private(set) var moments: [String: Tensor] = [:]
    public let step = StepSettings()
    /// The gradients by weight name, for tests and reports; and their norms, where they are measured.
    public private(set) var gradients: [String: Value] = [:]
    public private(set) var norms: [(name: String, value: Value)] = []

    private let settings: Settings

    /// Appends gradients and updates to the graph. Moments start at zero.
    public init(_ graph: Graph, loss: Value, model: Model, settings: Settings) throws {
        self.settings = settings
        let head = model.headNames
        let trained = model.parameters.specifications.filter {
            $0.isTrainable && graph.boundValue($0.name) != nil && (!settings.trainsHeadOnly || head.contains($0.name))
        }
        let values = trained.compactMap { graph.boundValue($0.name) }
        let byValue = try graph.gradients(of: loss, withRespectTo: values)
        let depth = model.encoder.depth
        for (specification, value) in zip(trained, values) {
            guard let gradient = byValue[value] else { continue }
            let name = specification.name
            gradients[name] = gradient
            if settings.measuresGradients { norms.append((name, try graph.apply(Norm(), [gradient])[0])) }
            let isToken = name == "cls_token" || name == "mask_token" || name == "pos_embed"
            let isDecayed = specification.isDecayed && (settings.decaysTokens || !isToken)
            var rateScale = 1.0
            for _ in model.encoder.layer(of: name)..<(depth + 1) { rateScale *= settings.layerDecay }
            try update(graph, specification, value, gradient, isDecayed: isDecayed, rateScale: rateScale)
        }
    }

    /// Biases, norms and other exempt weights keep the plain rate in LARS and LAMB, as in the reference implementations.
    private func update(
        _ graph: Graph, _ specification: ParameterSpecification, _ value: Value, _ gradient: Value, isDecayed: Bool, rateScale: Double
    ) throws {
        let decay = isDecayed ? settings.weightDecay : 0
        func moment(_ prefix: String) throws -> Value {
            let name = prefix + specification.name
            moments[name] = try Tensor(specification.shape)
            return graph.bound(name, TensorType(specification.shape))
        }
        if settings.method.usesMomentumOnly {
            let hyperparameters = SGD.Hyperparameters(
                momentum: settings.momentum, nesterov: settings.nesterov, weightDecay: decay, rateScale: rateScale,
                trust: settings.method == .lars && isDecayed ? settings.trust : 0)
            try graph.apply(SGD(hyperparameters, settings: step), [value, gradient, moment("momentum/")])
        } else {
            let hyperparameters = AdamW.Hyperparameters(
                beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon, weightDecay: decay, rateScale: rateScale,
                layerWise: settings.method == .lamb && isDecayed)
            try graph.apply(
                AdamW(hyperparameters, settings: step), [value, gradient, moment("first_moment/"), moment("second_moment/")])
        }
    }

    /// Lets weights follow others after each step, as moving averages.
    func follow(_ pairs: [MovingAverage.Pair], _ graph: Graph) throws {
        for pair in pairs {
            guard let source = graph.boundValue(pair.source), let average = graph.boundValue(pair.average) else { continue }
            try graph.apply(MovingAverage(settings: step), [average, source])
        }
    }

    /// Scales the gradients of this step so that their common norm is at most `limit` (torch.nn.utils.clip_grad_norm_). Throws
    /// `.numeric` with the first weight whose gradient is not finite.
    func clip(_ executor: Executor, to limit: Double) throws {
        var sum = 0.0
        for (name, value) in norms {
            let norm = executor.scalar(value)
            guard norm.isFinite else { throw MRPError(.numeric, "the gradient of '\(name)' has norm \(norm)") }
            sum += norm * norm
        }
        step.gradientScale = min(1, limit / (sum.squareRoot() + 1e-6))
    }

    public var bytes: Int { moments.values.reduce(0) { $0 + $1.bytes } }
}
