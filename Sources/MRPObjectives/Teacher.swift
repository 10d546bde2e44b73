import MRPEngine
import MRPModels

/// A copy of the encoder that follows it as an exponential moving average (EMA) and sees whole images (Tarvainen & Valpola 2017;
/// Grill et al. 2020). No gradient reaches it: its weights are not trained, and nothing that is trained comes before it.
public struct Teacher: Sendable {
    public let encoder: any ImageEncoder
    /// EMA decay: from `decay.start` in the first step to `decay.end` in the last, on a straight line.
    public let decay: Decay
    /// Norm by which its features become targets.
    public let norm: Norm
    /// Weights beside the encoder's that it has too.
    public let others: [ParameterSpecification]

    public init(_ encoder: any ImageEncoder, decay: Decay, norm: Norm = .layer, others: [ParameterSpecification] = []) {
        self.encoder = encoder
        self.decay = decay
        self.norm = norm
        self.others = others
    }

    public struct Decay: Equatable, Sendable {
        public let start: Double
        public let end: Double

        public init(_ start: Double, _ end: Double) { (self.start, self.end) = (start, end) }

        public func value(fraction: Double) -> Double { start + (end - start) * min(max(fraction, 0), 1) }
    }

    public enum Norm: String, CaseIterable, Sendable {
        /// Each token over its features, as the papers do.
        case layer
        /// Each feature over the tokens of its image (as data2vec does for speech, where neighbours are alike). What a whole image shares, as its
        /// colour, is no target then.
        case instance
    }

    static let prefix = "teacher."

    /// The encoder's weights as they are at that moment, under the names `teacher....`.
    var parameters: [ParameterSpecification] {
        (encoder.parameters() + others).map {
            ParameterSpecification(
                Self.prefix + $0.name, $0.shape, .copy(of: $0.name), role: $0.role, storedShape: $0.storedShape, isTrainable: false)
        }
    }

    var averages: [MovingAverage.Pair] {
        (encoder.parameters() + others).filter(\.isTrainable).map { MovingAverage.Pair(average: Self.prefix + $0.name, source: $0.name) }
    }

    /// The outputs of the last `count` layers for whole images, [B, tokens, D] each; a token is a patch of the masks (of a convolutional
    /// network the mean over its positions), the class token comes first where there is one.
    func layers(_ images: Value, last count: Int, _ builder: NetworkBuilder) throws -> [Value] {
        try encoder.layers(images, builder.teacher(Self.prefix)).suffix(count).map { try encoder.patchTokens($0, builder) }
    }

    /// Features [B, tokens, D] as a target: normed without scale and shift, epsilon 1e-5.
    func target(_ features: Value, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let width = graph.type(of: features).width
        let (ones, zeros) = (try Tensor([width]), try Tensor([width]))
        ones.float32.update(repeating: 1)
        let inputs = [features, graph.constant(ones), graph.constant(zeros)]
        switch norm {
        case .layer: return try graph.apply(LayerNorm(epsilon: 1e-5), inputs)[0]
        case .instance: return try graph.apply(ImageNorm(.group(width), epsilon: 1e-5), inputs)[0]
        }
    }

    /// The output of the last layer, normed where the encoder ends in a norm, [B, tokens, D].
    func tokens(_ images: Value, _ builder: NetworkBuilder) throws -> Value {
        try encoder.features(images, layer: nil, pooling: nil, builder.teacher(Self.prefix))
    }
}

/// An objective whose targets a teacher makes.
public protocol TaughtObjective: PretrainingObjective {
    var teacher: Teacher { get }
}

extension TaughtObjective {
    public var averages: [MovingAverage.Pair] { teacher.averages }
    public func emaDecay(fraction: Double) -> Double { teacher.decay.value(fraction: fraction) }
}

extension NetworkBuilder {
    public static let featuresMark = "features"

    /// Lets the trainer watch these tokens [B, T, D] of the encoder for collapse: their mean over patches, [B, D], is marked.
    func watchFeatures(_ tokens: Value, of encoder: any ImageEncoder) throws {
        graph.mark(try encoder.pooled(tokens, self), as: Self.featuresMark)
    }
}
