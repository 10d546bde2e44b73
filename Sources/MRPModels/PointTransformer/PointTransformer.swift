import MRPEngine

/// The encoder of Point-MAE (Pang et al. 2022, "Masked Autoencoders for Point Cloud Self-supervised Learning") with its parameter names: each
/// group of points becomes a token by a small PointNet; positions, a function of the group's centre, are added before every block. There is
/// no class token; a classifier reads maximum and mean of the tokens.
public struct PointTransformer: Equatable, Sendable {
    public let groups: PointGroups
    public let geometry: PatchGeometry
    public let transformer: TransformerConfiguration
    public let embedding: GroupEmbedding
    public let hasQueryBias: Bool
    /// Of layer norms and batch norms, as in torch.
    public let epsilon = 1e-5

    /// Points of `channels` values: x, y, z, features.
    public init(
        groups: PointGroups, channels: Int = 3, transformer: TransformerConfiguration, embedding: GroupEmbedding, hasQueryBias: Bool = false
    ) throws {
        geometry = try groups.geometry(channels: channels)
        self.groups = groups
        self.transformer = transformer
        self.embedding = embedding
        self.hasQueryBias = hasQueryBias
    }

    public func parameters() -> [ParameterSpecification] {
        var list = embedding.parameters(channels: geometry.channels, width: transformer.width)
        list += pointPositionParameters("pos_embed", channels: geometry.channels, width: transformer.width)
        for index in 0..<transformer.depth {
            list += transformerBlockParameters(
                "blocks.blocks.\(index)", width: transformer.width, hidden: transformer.hidden, hasQueryBias: hasQueryBias)
        }
        return list + layerNormParameters("norm", width: transformer.width)
    }

    /// Tokens [B, K, D] and centres [B, K, C] of the groups that `visible` [B, K] names; nil: all in order.
    private func embed(_ images: Value, visible: Value?, _ builder: NetworkBuilder) throws -> (tokens: Value, centres: Value) {
        let graph = builder.graph
        let pixels = try groupPixels(images, visible, graph)
        let (sets, batch) = (graph.shape(of: pixels)[0], graph.shape(of: images)[0])
        let points = try groupPoints(pixels, graph)
        let tokens = try embedding.apply(points, builder)
        return (
            try graph.apply(Reshape([batch, sets / batch, transformer.width]), [tokens])[0],
            try centres(pixels, batch: batch, builder)
        )
    }

    /// Groups as sets of pixels [B K, 1 + size, C], the centre first.
    public func groupPixels(_ images: Value, _ chosen: Value?, _ graph: Graph) throws -> Value {
        let rows = try graph.apply(ExtractPatches(geometry, order: .channelsLast), [images, chosen])[0]
        let shape = graph.shape(of: rows)
        return try graph.apply(Reshape([shape[0] * shape[1], geometry.width, geometry.channels]), [rows])[0]
    }

    /// The points of such sets, [B K, size, C].
    public func groupPoints(_ pixels: Value, _ graph: Graph) throws -> Value {
        try graph.apply(GatherTokens(), [pixels, graph.constant(indices: (1...Int32(groups.size)).map { $0 }), nil, nil, nil])[0]
    }

    /// Their centres, [B, K, C].
    public func centres(_ pixels: Value, batch: Int, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let centres = try builder.gather(pixels, ids: graph.constant(indices: [0]))
        return try graph.apply(Reshape([batch, graph.shape(of: pixels)[0] / batch, geometry.channels]), [centres])[0]
    }

    /// Outputs of every block, [B, K, D], before the final norm, of the groups that `visible` names; and the attention of a layer, 1 ... depth,
    /// in their place where it is asked for.
    private func blocks(
        _ images: Value, visible: Value? = nil, attentionOf layer: Int? = nil, _ builder: NetworkBuilder
    ) throws -> [Value] {
        let embedded = try embed(images, visible: visible, builder)
        let positions = try builder.pointPositions("pos_embed", embedded.centres)
        var (x, outputs) = (embedded.tokens, [Value]())
        for index in 0..<transformer.depth {
            let name = "blocks.blocks.\(index)"
            let input = try builder.graph.apply(Add(), [x, positions])[0]
            if layer == index + 1 { return [try builder.attentionWeights(name, input, heads: transformer.heads)] }
            x = try builder.transformerBlock(name, input, heads: transformer.heads, index: index)
            outputs.append(x)
        }
        return outputs
    }

    /// Normed tokens [B, K, D].
    public func tokens(_ images: Value, visible: Value? = nil, _ builder: NetworkBuilder) throws -> Value {
        let blocks = try blocks(images, visible: visible, builder)
        return try builder.layerNorm("norm", blocks[blocks.count - 1])
    }
}

extension PointTransformer: ImageEncoder {
    public var pointGroups: PointGroups? { groups }
    public var featureWidth: Int { 2 * transformer.width }
    public var depth: Int { transformer.depth }
    public var droppableBlocks: Int { transformer.depth }
    public var hasClassToken: Bool { false }

    /// 0 before the blocks, i + 1 for block i, depth + 1 after them.
    public func layer(of parameter: String) -> Int {
        if parameter.hasPrefix("encoder.") || parameter.hasPrefix("pos_embed.") { return 0 }
        let parts = parameter.split(separator: ".", maxSplits: 3)
        if parts.count > 2, parts[0] == "blocks", parts[1] == "blocks", let index = Int(parts[2]) { return index + 1 }
        return transformer.depth + 1
    }

    public func classifierParameters(_ head: ClassifierHead) throws -> [ParameterSpecification] {
        guard head.pooling == .mean else {
            throw MRPError(.argument, "pooling \(head.pooling) needs a class token, a \(family.name) has none: use mean")
        }
        return linearParameters("head", from: featureWidth, to: head.classes)
    }

    /// Maximum over the tokens, then their mean.
    public func classifierFeatures(_ images: Value, pooling: Pooling, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let tokens = try tokens(images, builder)
        let (batch, width) = (graph.shape(of: tokens)[0], transformer.width)
        let largest = try graph.largestOfTokens(tokens)
        let mean = try graph.apply(Reshape([batch, 1, width]), [pooled(tokens, builder)])[0]
        let both = try graph.apply(
            Add(),
            [
                builder.gather(largest, ids: graph.constant(indices: [0, -1])),
                builder.gather(mean, ids: graph.constant(indices: [-1, 0])),
            ])[0]
        return try graph.apply(Reshape([batch, 2 * width]), [both])[0]
    }

    public func scores(_ features: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        try builder.linear("head", features)
    }

    public func featureShape(layer: Int?) -> (tokens: Int, width: Int) { (groups.count, transformer.width) }

    public func features(_ images: Value, layer: Int?, pooling: Pooling?, _ builder: NetworkBuilder) throws -> Value {
        guard let layer else { return try tokens(images, builder) }
        return try blocks(images, builder)[layer - 1]
    }

    public func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value] { try blocks(images, builder) }

    public func attentionShape(layer: Int) -> (heads: Int, tokens: Int)? { (transformer.heads, groups.count) }

    public func attention(_ images: Value, layer: Int, _ builder: NetworkBuilder) throws -> Value {
        try blocks(images, attentionOf: layer, builder)[0]
    }
}
