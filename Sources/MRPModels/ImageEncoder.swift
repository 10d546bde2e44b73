import MRPEngine

/// A network that turns images into features: what models, objectives and inference need to know of one.
public protocol ImageEncoder: Sendable {
    /// The images that it takes, and the cells by which they are masked.
    var geometry: PatchGeometry { get }
    /// Width of the features that a classifier reads.
    var featureWidth: Int { get }
    /// Layers for `layer` of features and for layer-wise learning-rate decay.
    var depth: Int { get }
    /// Blocks whose branches may be left out in training (`DropPath`); 0: none.
    var droppableBlocks: Int { get }
    /// Epsilon of the norms.
    var epsilon: Double { get }
    var hasClassToken: Bool { get }

    func parameters() -> [ParameterSpecification]

    /// The layer of a weight for learning-rate decay: 0 for what comes before the first, depth + 1 for norms and heads after the last.
    func layer(of parameter: String) -> Int

    /// The weights of a classifier on this encoder; throws when it cannot read what the head wants.
    func headParameters(_ head: ClassifierHead) throws -> [ParameterSpecification]

    /// Class scores before the softmax, [B, classes], of images [B, C, H, W].
    func logits(_ images: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value

    /// Tokens and their width in the output of `layer`, 1 ... depth (0: the last, normed).
    func featureShape(layer: Int) -> (tokens: Int, width: Int)

    /// That output, [B, tokens, width], the class token first where there is one.
    func features(_ images: Value, layer: Int, head: ClassifierHead?, _ builder: NetworkBuilder) throws -> Value

    /// The outputs of the layers 1 ... depth, [B, tokens, width] each, before a norm that follows the last.
    func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value]
}

extension ImageEncoder {
    /// The weights of a classifier whose matrix starts with normal numbers of this deviation; nil: as is usual for the encoder.
    public func headParameters(_ head: ClassifierHead, deviation: Double?) throws -> [ParameterSpecification] {
        let usual = try headParameters(head)
        guard let deviation else { return usual }
        return usual.map { $0.shape.count == 2 ? ParameterSpecification($0.name, $0.shape, .normal(deviation: deviation)) : $0 }
    }
}

extension VisionTransformer: ImageEncoder {
    public var droppableBlocks: Int { depth }
    public var featureWidth: Int { transformer.width }
    public var depth: Int { transformer.depth }
    public var hasClassToken: Bool { true }

    public func headParameters(_ head: ClassifierHead) -> [ParameterSpecification] { head.parameters(width: featureWidth) }

    public func logits(_ images: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        let blocks = try encode(images, builder)
        return try head.logits(blocks[blocks.count - 1], builder)
    }

    public func featureShape(layer: Int) -> (tokens: Int, width: Int) { (1 + geometry.count, featureWidth) }

    /// The final norm is the encoder's; a classifier that pools by the mean was fine-tuned with `fc_norm` in its place.
    public func features(_ images: Value, layer: Int, head: ClassifierHead?, _ builder: NetworkBuilder) throws -> Value {
        let blocks = try encode(images, depth: layer == 0 ? nil : layer, builder)
        let tokens = blocks[blocks.count - 1]
        return layer == 0 ? try builder.layerNorm(head?.pooling == .mean ? "fc_norm" : "norm", tokens) : tokens
    }

    public func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value] { try encode(images, builder) }
}
