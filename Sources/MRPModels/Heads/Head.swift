import MRPEngine

/// A network on an encoder that supervised training makes: a classifier, a segmenter. A model has at most one.
public protocol Head: Sendable {
    /// As in option `task` and in files.
    static var name: String { get }

    /// Classes that it tells apart, the width of its outputs.
    var classes: Int { get }

    /// Pooling that the encoder's last norm was trained with; nil: none.
    var featurePooling: Pooling? { get }

    /// Whether its outputs are scores of classes, whose softmax are probabilities.
    var isClassifier: Bool { get }

    /// Whether it answers for each pixel.
    var isDense: Bool { get }

    /// Everything about it that a file has to say, beside `name`.
    var settings: [(key: String, value: JSON)] { get }

    /// Whether both have the same parameters and outputs.
    func isSame(as other: any Head) -> Bool

    /// Parameters beside the encoder's; throws when the encoder does not give what the head reads.
    func parameters(on encoder: any ImageEncoder) throws -> [ParameterSpecification]

    /// Outputs of images [B, C, H, W]: of a classifier scores before the softmax, [B, classes], of a dense head [B, H W, classes].
    func outputs(_ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder) throws -> Value
}

extension Head {
    public var name: String { Self.name }
    public var featurePooling: Pooling? { nil }
    public var isClassifier: Bool { false }
    public var isDense: Bool { false }

    /// Whether both have the same parameters and outputs.
    public func isSame(as other: any Head) -> Bool {
        name == other.name && JSON.object(settings).text() == JSON.object(other.settings).text()
    }
}
