import MRPEngine

/// The plain vision transformer (Dosovitskiy et al. 2021) as in He et al. 2021: pre-norm, class token, exact GELU, fused qkv with
/// bias; positions are added to the patches.
public struct VisionTransformer: Equatable, Sendable {
    public enum Positions: String, CaseIterable, Sendable {
        /// A fixed table; He et al. 2021.
        case sinCos = "sin_cos"
        /// A weight like the others; Dosovitskiy et al. 2021.
        case learned
    }

    public let geometry: PatchGeometry
    public let transformer: TransformerConfiguration
    /// Epsilon of the layer norms: 1e-6 in MAE and timm, 1e-12 by default in Hugging Face configurations.
    public let epsilon: Double
    public let positions: Positions
    /// Experts in the place of some blocks' MLP; nil: none.
    public let mixture: Mixture?

    public init(
        geometry: PatchGeometry, transformer: TransformerConfiguration, epsilon: Double = 1e-6, positions: Positions = .sinCos,
        mixture: Mixture? = nil
    ) {
        self.geometry = geometry
        self.transformer = transformer
        self.epsilon = epsilon
        self.positions = positions
        self.mixture = mixture
    }

    /// Initialised as facebookresearch/mae does: xavier for the matrices (the patch weight as a matrix too), the patch bias left
    /// at the default of a convolution, U(-1/sqrt(p^2 C), 1/sqrt(p^2 C)), class token N(0, 0.02^2).
    public func parameters() -> [ParameterSpecification] {
        let (width, values) = (transformer.width, geometry.patchValues)
        let rows = 1 + geometry.count
        let table = Initializer.sinCosPositions(gridHeight: geometry.gridHeight, gridWidth: geometry.gridWidth)
        var list = [
            ParameterSpecification("cls_token", [width], .normal(std: 0.02), role: .token, storedShape: [1, 1, width]),
            ParameterSpecification(
                "pos_embed", [rows, width], positions == .sinCos ? table : .normal(std: 0.02), role: .position,
                storedShape: [1, rows, width],
                isTrainable: positions == .learned),
            ParameterSpecification(
                "patch_embed.proj.weight", [width, values], .xavierUniform,
                storedShape: [width, geometry.channels, geometry.patchHeight, geometry.patchWidth]),
            ParameterSpecification("patch_embed.proj.bias", [width], .uniform(bound: 1 / Double(values).squareRoot()), role: .bias),
        ]
        for index in 0..<transformer.depth {
            list += transformerBlockParameters(
                "blocks.\(index)", width: width, hidden: transformer.hidden, experts: experts(block: index))
        }
        list += layerNormParameters("norm", width: width)
        return list + (mixture?.sharedParameters(width: width, dense: dense) ?? [])
    }

    /// What the first block reads: class token and patches, embedded, with positions.
    private func embed(
        _ images: Value, visible: (patches: Value, positions: Value)?, hidden: (kept: Value, token: Value)?, _ builder: NetworkBuilder
    ) throws -> Value {
        let graph = builder.graph
        let patches = try graph.apply(ExtractPatches(geometry, order: .channelsFirst), [images, visible?.patches])[0]
        let count = graph.shape(of: patches)[1]
        var embedded = try builder.linear("patch_embed.proj", patches)
        if let hidden { embedded = try builder.gather(embedded, ids: hidden.kept, fill: hidden.token) }
        // Row 0 has no patch: the class token fills it.
        let withClassToken = try graph.constant(indices: [-1] + (0..<Int32(count)))
        return try builder.gather(
            embedded, ids: withClassToken, fill: builder.weight("cls_token"), table: builder.weight("pos_embed"),
            tableIds: visible?.positions)
    }

    public func encode(
        _ images: Value, visible: (patches: Value, positions: Value)?, hidden: (kept: Value, token: Value)?,
        depth: Int?, _ builder: NetworkBuilder
    ) throws -> [Value] {
        let shared = try mixture.flatMap { try builder.sharedRouting($0, images, self) }
        var x = try embed(images, visible: visible, hidden: hidden, builder)
        var outputs: [Value] = []
        for index in 0..<min(depth ?? transformer.depth, transformer.depth) {
            x = try block(index, x, shared: shared, builder)
            outputs.append(x)
        }
        return outputs
    }

    /// `shared`: what the routers of all blocks read (`NetworkBuilder.sharedRouting`).
    private func block(_ index: Int, _ x: Value, shared: Value?, _ builder: NetworkBuilder) throws -> Value {
        let routing = experts(block: index).map { ExpertRouting($0, shared: shared) }
        let y = try builder.transformerBlock("blocks.\(index)", x, heads: transformer.heads, index: index, experts: routing)
        if let routing, let probabilities = routing.own { builder.mixtureContext.routers?.add(probabilities, routing.mixture) }
        return y
    }
}

extension VisionTransformer: TokenEncoder {
    public var droppableBlocks: Int { depth }
    public var featureWidth: Int { transformer.width }
    public var depth: Int { transformer.depth }
    public var hasClassToken: Bool { true }

    /// The layer id of a weight for layer-wise learning-rate decay (He et al. 2021; BEiT): 0 for what comes before the blocks,
    /// i + 1 for block i, depth + 1 for norms after the blocks and for heads.
    public func layer(of parameter: String) -> Int {
        if parameter.hasPrefix("cls_token") || parameter.hasPrefix("pos_embed") || parameter.hasPrefix("patch_embed") { return 0 }
        let parts = parameter.split(separator: ".", maxSplits: 2)
        if parts.count > 1, parts[0] == "blocks", let index = Int(parts[1]) { return index + 1 }
        return transformer.depth + 1
    }

    public func normed(_ tokens: Value, _ builder: NetworkBuilder) throws -> Value { try builder.layerNorm("norm", tokens) }

    /// A classifier's matrix starts like every other linear layer's; the pooled mean has a norm of its own (`fc_norm`).
    public func classifierParameters(_ head: ClassifierHead) -> [ParameterSpecification] {
        let norm = head.pooling == .mean ? layerNormParameters("fc_norm", width: featureWidth) : []
        return norm + linearParameters("head", from: featureWidth, to: head.classes)
    }

    public func classifierFeatures(_ images: Value, pooling: Pooling, _ builder: NetworkBuilder) throws -> Value {
        let blocks = try encode(images, visible: nil, hidden: nil, depth: nil, builder)
        return try pool(blocks[blocks.count - 1], pooling, builder)
    }

    public func scores(_ features: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        try builder.linear("head", features)
    }

    /// Pooled features [B, D] of the last block's tokens [B, 1 + L, D].
    private func pool(_ tokens: Value, _ pooling: Pooling, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        switch pooling {
        case .mean: return try builder.layerNorm("fc_norm", pooled(tokens, builder))
        case .cls:
            // Norm of one row equals the row of the norm, so only the class token is normed.
            let row = try builder.gather(tokens, ids: graph.constant(indices: [0]))
            return try graph.apply(MeanTokens(first: 0), [normed(row, builder)])[0]
        }
    }

    public func featureShape(layer: Int?) -> (tokens: Int, width: Int) { (1 + geometry.count, featureWidth) }

    /// The final norm is the encoder's; a classifier that pools by the mean was fine-tuned with `fc_norm` in its place.
    public func features(_ images: Value, layer: Int?, pooling: Pooling?, _ builder: NetworkBuilder) throws -> Value {
        let blocks = try encode(images, visible: nil, hidden: nil, depth: layer, builder)
        let tokens = blocks[blocks.count - 1]
        guard layer == nil else { return tokens }
        return pooling == .mean ? try builder.layerNorm("fc_norm", tokens) : try normed(tokens, builder)
    }

    public func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value] {
        try encode(images, visible: nil, hidden: nil, depth: nil, builder)
    }

    public func attentionShape(layer: Int) -> (heads: Int, tokens: Int)? { (transformer.heads, 1 + geometry.count) }

    public func attention(_ images: Value, layer: Int, _ builder: NetworkBuilder) throws -> Value {
        let shared = try mixture.flatMap { try builder.sharedRouting($0, images, self) }
        var x = try embed(images, visible: nil, hidden: nil, builder)
        for index in 0..<(layer - 1) { x = try block(index, x, shared: shared, builder) }
        return try builder.attentionWeights("blocks.\(layer - 1)", x, heads: transformer.heads)
    }
}
