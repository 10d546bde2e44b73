import MRPEngine
import MRPModels

/// A copy of the encoder that follows it as an exponential moving average and sees what the student does not (Tarvainen & Valpola 2017;
/// Grill et al. 2020). No gradient reaches it: its weights are not trained, and nothing that is trained comes before it.
public struct Teacher: Equatable, Sendable {
    public let encoder: VisionTransformer
    /// What it keeps of itself at a step: from `decay.start` at the first to `decay.end` at the last, in a straight line.
    public let decay: Decay

    public struct Decay: Equatable, Sendable {
        public let start: Double
        public let end: Double

        public init(_ start: Double, _ end: Double) { (self.start, self.end) = (start, end) }

        public func value(fraction: Double) -> Double { start + (end - start) * min(max(fraction, 0), 1) }
    }

    static let prefix = "teacher."

    /// The encoder's weights as they are at that moment, under the names `teacher....`.
    var parameters: [ParameterSpecification] {
        encoder.parameters().map {
            ParameterSpecification(Self.prefix + $0.name, $0.shape, .copy(of: $0.name), storedShape: $0.storedShape, isTrainable: false)
        }
    }

    var averages: [MovingAverage.Pair] {
        encoder.parameters().filter(\.isTrainable).map { MovingAverage.Pair(average: Self.prefix + $0.name, source: $0.name) }
    }

    /// The outputs of every block for whole images, [B, 1 + L, D] each.
    func blocks(_ images: Value, _ builder: NetworkBuilder) throws -> [Value] {
        try encoder.encode(images, builder.teacher(Self.prefix))
    }

    /// The normed output of the last block, [B, 1 + L, D].
    func tokens(_ images: Value, _ builder: NetworkBuilder) throws -> Value {
        let blocks = try blocks(images, builder)
        return try builder.teacher(Self.prefix).layerNorm("norm", blocks[blocks.count - 1])
    }
}
