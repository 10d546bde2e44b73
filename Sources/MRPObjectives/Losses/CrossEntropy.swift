import MRPEngine
import MRPOptions

/// Softmax cross entropy against (1 - smoothing) one-hot + smoothing / K (Szegedy et al. 2016).
public struct CrossEntropy: ClassificationLoss {
    public let smoothing: Double

    public init(smoothing: Double) throws {
        guard smoothing >= 0, smoothing < 1 else { throw MRPError(.argument, "label_smoothing \(smoothing) is outside [0, 1)") }
        self.smoothing = smoothing
    }

    public static let labelSmoothing = Option(
        "label_smoothing", .number(0..<1), default: 0.1, section: .objective,
        "Weight of the uniform distribution in the classification target.")

    public static let descriptor = LossDescriptor(
        "cross_entropy", source: "label_smoothing: Szegedy et al. 2016", options: [labelSmoothing]
    ) {
        try CrossEntropy(smoothing: $0.options[labelSmoothing])
    }

    public func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value {
        try graph.apply(SoftmaxCrossEntropy(smoothing: smoothing), [logits, labels])[0]
    }

    /// The shares are smoothed by who mixes.
    public func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value {
        try graph.apply(SoftTargetCrossEntropy(), [logits, shares])[0]
    }
}
