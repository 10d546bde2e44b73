import MRPEngine
import MRPModels

/// Supervised classification: cross entropy of the head's scores, for fine-tuning and for training from scratch.
public struct Classification {
    public static let labelsInput = "labels"
    /// Shares of the classes [B, K], read in place of the labels when images are mixed.
    public static let targetsInput = "targets"

    public let encoder: any ImageEncoder
    public let head: ClassifierHead
    public let smoothing: Double

    public init(_ model: Model, smoothing: Double = 0) throws {
        guard let head = model.head else { throw MRPError(.state, "the model has no classifier head: fine-tune it first") }
        guard smoothing >= 0, smoothing < 1 else { throw MRPError(.argument, "label_smoothing \(smoothing) is outside [0, 1)") }
        encoder = model.encoder
        self.head = head
        self.smoothing = smoothing
    }

    public func logits(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let images = MaskedAutoencoder.images(builder.graph, encoder.geometry, batch: batch)
        return try encoder.logits(images, head, builder)
    }

    /// The loss against labels, or against targets that the caller smoothed.
    public func loss(_ builder: NetworkBuilder, batch: Int, againstTargets: Bool = false) throws -> (loss: Value, logits: Value) {
        let logits = try logits(builder, batch: batch)
        if againstTargets {
            let targets = builder.graph.input(Self.targetsInput, TensorType([batch, head.classes]), filledBy: .loader)
            return (try builder.graph.apply(SoftTargetCrossEntropy(), [logits, targets])[0], logits)
        }
        let labels = builder.graph.input(Self.labelsInput, TensorType([batch], .int32), filledBy: .loader)
        let loss = try builder.graph.apply(SoftmaxCrossEntropy(smoothing: smoothing), [logits, labels])[0]
        return (loss, logits)
    }
}
