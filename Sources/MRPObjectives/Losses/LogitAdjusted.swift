import MRPEngine
import MRPOptions

/// Cross entropy of scores + exponent x log prior (Menon et al. 2021, "Long-tail learning via logit adjustment"): the prior of the training
/// images is explained by the sum, so that the scores themselves are those of classes that are equally likely. At test time nothing is added.
public struct LogitAdjusted: ClassificationLoss {
    private let entropy: CrossEntropy
    private let offsets: [Double]
    public let removedPrior: Double

    public init(_ frequencies: ClassFrequencies, exponent: Double, smoothing: Double) throws {
        entropy = try CrossEntropy(smoothing: smoothing)
        offsets = frequencies.logPrior(exponent: exponent)
        removedPrior = exponent
    }

    public static let logitAdjustment = Option(
        "logit_adjustment", .number(0...16), default: 1, section: .objective,
        "Exponent of the classes' prior that logit_adjusted and proco take out of the scores; 1: all of it.")

    public static let descriptor = LossDescriptor(
        "logit_adjusted", source: "Menon et al. 2021", options: [logitAdjustment]
    ) { request in
        try LogitAdjusted(
            request.frequencies.complete(for: "logit_adjusted"), exponent: request.options[logitAdjustment],
            smoothing: request.options[CrossEntropy.labelSmoothing])
    }

    /// Scores as the cross entropy sees them.
    private func adjusted(_ logits: Value, in graph: Graph) throws -> Value {
        try graph.apply(AddRow(), [logits, graph.constant(row: offsets)])[0]
    }

    public func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value {
        try entropy.loss(adjusted(logits, in: graph), labels: labels, in: graph)
    }

    public func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value {
        try entropy.loss(adjusted(logits, in: graph), shares: shares, in: graph)
    }
}
