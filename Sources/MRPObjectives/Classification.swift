import MRPEngine
import MRPModels

/// Supervised classification: cross entropy of the head's scores, for fine-tuning and for training from scratch.
public struct Classification {
    public static let labelsInput = "labels"

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

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> (loss: Value, logits: Value) {
        let logits = try logits(builder, batch: batch)
        let labels = builder.graph.input(Self.labelsInput, TensorType([batch], .int32))
        let loss = try builder.graph.apply(SoftmaxCrossEntropy(smoothing: smoothing), [logits, labels])[0]
        return (loss, logits)
    }
}
