import MRPEngine
import MRPModels

/// AdamW over all trainable weights that a loss depends on: the gradient nodes, the update nodes and the moments.
public final class Optimizer {
    public struct Settings: Equatable, Sendable {
        public var beta1: Double
        public var beta2: Double
        public var epsilon: Double
        public var weightDecay: Double
        /// Layer-wise learning-rate decay: a weight of layer id i learns at decay^(depth + 1 - i) of the rate (1: all alike).
        public var layerDecay: Double
        /// Whether the class and mask tokens are decayed: yes in MAE's pretraining, no in its fine-tuning.
        public var decaysTokens: Bool
        /// Whether only the classifier head learns: a linear probe of a frozen encoder.
        public var trainsHeadOnly: Bool

        public init(
            beta1: Double, beta2: Double, epsilon: Double = 1e-8, weightDecay: Double, layerDecay: Double = 1,
            decaysTokens: Bool = true, trainsHeadOnly: Bool = false
        ) {
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.layerDecay = layerDecay
            self.decaysTokens = decaysTokens
            self.trainsHeadOnly = trainsHeadOnly
        }
    }

    /// First and second moments by name (`first_moment/blocks.0...`), and what each step reads.
    public private(set) var moments: [String: Tensor] = [:]
    public let step = StepSettings()
    /// The gradients by weight name, for tests and reports.
    public private(set) var gradients: [String: Value] = [:]

    /// Appends gradients and updates to the graph. Moments start at zero.
    public init(_ graph: Graph, loss: Value, model: Model, settings: Settings) throws {
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
            let isToken = name == "cls_token" || name == "mask_token"
            let isDecayed = specification.isDecayed && (settings.decaysTokens || !isToken)
            var rateScale = 1.0
            for _ in model.encoder.layer(of: name)..<(depth + 1) { rateScale *= settings.layerDecay }
            let hyperparameters = AdamW.Hyperparameters(
                beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
                weightDecay: isDecayed ? settings.weightDecay : 0, rateScale: rateScale)
            let moments = try ["first_moment/", "second_moment/"].map { prefix in
                self.moments[prefix + name] = try Tensor(specification.shape)
                return graph.bound(prefix + name, TensorType(specification.shape))
            }
            try graph.apply(AdamW(hyperparameters, settings: step), [value, gradient] + moments)
        }
    }

    public var bytes: Int { moments.values.reduce(0) { $0 + $1.bytes } }
}
