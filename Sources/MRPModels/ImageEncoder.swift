import MRPEngine

/// A network that turns images into features: all that models, objectives, heads and inference ask of one.
///
/// A new encoder conforms to this, and to `TokenEncoder` or `ConvolutionalEncoder` where masked pretraining is to leave hidden parts out of
/// its computation; its `EncoderFamily` says how it is made, read and written.
public protocol ImageEncoder: StoredEncoder {
    /// Images that it takes, and the cells by which they are masked.
    var geometry: PatchGeometry { get }
    /// Width of the features that a classifier reads.
    var featureWidth: Int { get }
    /// Layers for `layer` of features and for layer-wise learning-rate decay.
    var depth: Int { get }
    /// Layers, from the last, whose outputs have the last one's shape.
    var alikeLayers: Int { get }
    /// Blocks whose branches may be left out in training (`DropPath`); 0: none.
    var droppableBlocks: Int { get }
    /// Epsilon of the norms.
    var epsilon: Double { get }
    var hasClassToken: Bool { get }
    /// The groups of points that are the rows of its images; nil: it takes images.
    var pointGroups: PointGroups? { get }
    /// Itself, where hidden tokens can be left out or replaced.
    var tokenEncoder: (any TokenEncoder)? { get }
    /// Itself, where its stages make images of features whose hidden cells can be left out.
    var convolutionalEncoder: (any ConvolutionalEncoder)? { get }

    func parameters() -> [ParameterSpecification]

    /// Layer of a parameter for learning-rate decay: 0 before the first, depth + 1 for norms and heads after the last.
    func layer(of parameter: String) -> Int

    /// Parameters of a classifier on this encoder; throws when it cannot read what the head wants.
    func classifierParameters(_ head: ClassifierHead) throws -> [ParameterSpecification]

    /// Pooled features [B, featureWidth] of images [B, C, H, W], as a classifier reads them.
    func classifierFeatures(_ images: Value, pooling: Pooling, _ builder: NetworkBuilder) throws -> Value

    /// Class scores before the softmax, [B, classes], of such features.
    func scores(_ features: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value

    /// Tokens and their width in the output of a layer, 1 ... depth (nil: the last, normed).
    func featureShape(layer: Int?) -> (tokens: Int, width: Int)

    /// Output of a layer, [B, tokens, width], the class token first where there is one; nil: the last, normed as a
    /// classifier of this pooling reads it.
    func features(_ images: Value, layer: Int?, pooling: Pooling?, _ builder: NetworkBuilder) throws -> Value

    /// Outputs of the layers 1 ... depth, [B, tokens, width] each, before a norm that follows the last.
    func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value]

    /// Heads and tokens of a layer's self-attention, 1 ... depth; nil: it has none.
    func attentionShape(layer: Int) -> (heads: Int, tokens: Int)?

    /// A layer's self-attention, softmax(q k^T / sqrt(d)), [B, heads, tokens, tokens].
    func attention(_ images: Value, layer: Int, _ builder: NetworkBuilder) throws -> Value

    /// A layer's output with one token for each patch of the masks, after the class token where there is one.
    func patchTokens(_ features: Value, _ builder: NetworkBuilder) throws -> Value

    /// Throws when its images are not made of cells that a mask could hide.
    func checkMaskable() throws
}

extension ImageEncoder {
    public var alikeLayers: Int { depth }
    public var droppableBlocks: Int { 0 }
    public var pointGroups: PointGroups? { nil }
    public var tokenEncoder: (any TokenEncoder)? { nil }
    public var convolutionalEncoder: (any ConvolutionalEncoder)? { nil }
    public func attentionShape(layer: Int) -> (heads: Int, tokens: Int)? { nil }
    public func patchTokens(_ features: Value, _ builder: NetworkBuilder) throws -> Value { features }
    public func checkMaskable() throws {}

    public func attention(_ images: Value, layer: Int, _ builder: NetworkBuilder) throws -> Value {
        throw MRPError(.unsupported, "a \(family.name) has no attention")
    }

    /// Class scores before the softmax, [B, classes], of images [B, C, H, W].
    public func logits(_ images: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        try scores(classifierFeatures(images, pooling: head.pooling, builder), head, builder)
    }

    /// Mean over the tokens of a layer's output without the class token, [B, width].
    public func pooled(_ features: Value, _ builder: NetworkBuilder) throws -> Value {
        try builder.graph.apply(MeanTokens(first: hasClassToken ? 1 : 0), [features])[0]
    }
}

/// An encoder of tokens, one for each patch: what masked pretraining of transformers needs to know of one.
public protocol TokenEncoder: ImageEncoder {
    /// Outputs of every block, [B, 1 + K, D] each (class token first), before the final norm.
    ///
    /// images [B, C, H, W]. `visible` names the K patches that the encoder sees, in the order in which it sees them: their
    /// indices [B, K] and the rows [B, K + 1] of the position table for class token and patches; nil: all patches in order.
    /// `hidden` hides patches in place instead: `kept` [B, L] holds each patch's index, or -1 where it is hidden and becomes `token` [D].
    /// `depth`: blocks that are computed, nil: all.
    func encode(
        _ images: Value, visible: (patches: Value, positions: Value)?, hidden: (kept: Value, token: Value)?, depth: Int?,
        _ builder: NetworkBuilder
    ) throws -> [Value]

    /// The norm after the last block.
    func normed(_ tokens: Value, _ builder: NetworkBuilder) throws -> Value
}

extension TokenEncoder {
    public var tokenEncoder: (any TokenEncoder)? { self }

    /// Normed tokens [B, 1 + K, D] of images.
    public func tokens(
        _ images: Value, visible: (patches: Value, positions: Value)? = nil, hidden: (kept: Value, token: Value)? = nil,
        _ builder: NetworkBuilder
    ) throws -> Value {
        let blocks = try encode(images, visible: visible, hidden: hidden, depth: nil, builder)
        return try normed(blocks[blocks.count - 1], builder)
    }
}
