import MRPEngine

extension VisionTransformer: MixedEncoder {
    /// The same network without experts.
    var dense: VisionTransformer {
        VisionTransformer(geometry: geometry, transformer: transformer, epsilon: epsilon, positions: positions)
    }

    public func with(_ mixture: Mixture?) -> any MixedEncoder {
        VisionTransformer(geometry: geometry, transformer: transformer, epsilon: epsilon, positions: positions, mixture: mixture)
    }

    /// The experts of a block; nil: it has an MLP.
    func experts(block: Int) -> Mixture? {
        mixture.flatMap { $0.contains(block: block, depth: transformer.depth) ? $0 : nil }
    }

    /// The largest u . c, with u = (f - mean) whitening and f the mean of the patches' tokens after the final norm. The length of u does not
    /// matter to that.
    public func clusterNumbers(_ images: Value, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let frozen = builder.teacher(MixtureNames.encoder)
        let tokens = try dense.tokens(images, frozen)
        let shift = try graph.apply(Scale(-1), [builder.weight(MixtureNames.mean)])[0]
        let rows = try graph.constant(indices: Array(repeating: 0, count: graph.shape(of: tokens)[1]))
        let features = try dense.pooled(builder.gather(tokens, table: shift, tableIds: rows), builder)
        let whitened = try graph.apply(MatrixProduct(), [features, builder.weight(MixtureNames.whitening)])[0]
        let scores = try graph.apply(MatrixProduct(transposeB: true), [whitened, builder.weight(MixtureNames.clusters)])
        return try graph.apply(LargestOfRow(), scores)[0]
    }
}
