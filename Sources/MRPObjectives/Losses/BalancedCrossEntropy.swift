import MRPEngine
import MRPOptions

/// Cross entropy whose images weigh N / (C n_j), n_j the training images of their class: all classes weigh alike (scikit-learn's
/// class_weight="balanced"). The weights of a batch are scaled to a mean of 1, as torch's weighted cross entropy does; those of mixed images are
/// means over their classes.
public struct BalancedCrossEntropy: ClassificationLoss {
    private let smoothing: Double
    private let weights: [Double]

    /// Weight of each image of a batch, [B].
    static let weightsName = "image_weights"

    public init(_ frequencies: ClassFrequencies, smoothing: Double) throws {
        self.smoothing = try CrossEntropy(smoothing: smoothing).smoothing
        weights = frequencies.balancedWeights
    }

    public static let descriptor = LossDescriptor("balanced", source: "classes weigh alike: King & Zeng 2001") { request in
        try BalancedCrossEntropy(
            request.frequencies.complete(for: "balanced"), smoothing: request.options[CrossEntropy.labelSmoothing])
    }

    public var removedPrior: Double { 1 }

    private func weights(of logits: Value, in graph: Graph) -> Value {
        graph.input(Self.weightsName, TensorType([graph.type(of: logits).rows]), filledBy: .loader)
    }

    public func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value {
        try graph.apply(SoftmaxCrossEntropy(smoothing: smoothing), [logits, labels, weights(of: logits, in: graph)])[0]
    }

    public func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value {
        try graph.apply(SoftTargetCrossEntropy(), [logits, shares, weights(of: logits, in: graph)])[0]
    }

    public func prepare(labels: UnsafeBufferPointer<Int32>, shares: UnsafeBufferPointer<Float>?, _ program: any Program) throws {
        var images = labels.indices.map { weights[Int(labels[$0])] }
        if let shares {
            let classes = weights.count
            for image in images.indices {
                images[image] = weights.indices.reduce(0) { $0 + weights[$1] * Double(shares[image * classes + $1]) }
            }
        }
        let mean = images.reduce(0, +) / Double(max(images.count, 1))
        try program.write(reals: images.map { $0 / mean }, to: Self.weightsName)
    }
}
