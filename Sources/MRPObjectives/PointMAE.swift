import MRPEngine
import MRPModels
import MRPOptions

/// Point-MAE (Pang et al. 2022): the encoder sees the visible groups of a cloud only; a decoder of transformer blocks gets mask tokens at the
/// hidden groups' centres and predicts their points; the loss is the Chamfer distance of each hidden group.
///
/// The decoder is told the hidden centres, and centres alone reconstruct well: a small loss is no evidence that the encoder learns.
public struct PointMAE: PretrainingObjective {
    public static let name = "point_mae"

    public let encoder: PointTransformer
    public let decoder: TransformerConfiguration
    public let masks: MaskChoice

    /// Throws when the pattern is for grids, or when the decoder's width is not the encoder's.
    public init(_ encoder: PointTransformer, decoder: TransformerConfiguration, masks: MaskChoice = usualMasks) throws {
        guard masks.pattern == .random || masks.pattern == .block else {
            throw MRPError(.unsupported, "mask_pattern \(masks.pattern.rawValue) is for grids: point_mae takes random or block")
        }
        guard decoder.width == encoder.transformer.width else {
            throw MRPError(.argument, "the decoder's width \(decoder.width) is not the encoder's \(encoder.transformer.width)")
        }
        (self.encoder, self.decoder, self.masks) = (encoder, decoder, masks)
    }

    /// int(ratio G) groups are hidden, as in the authors' code; throws when that hides none or all.
    func visibleCount() throws -> Int {
        let hidden = Int(masks.ratio * Double(encoder.groups.count))
        guard hidden >= 1, hidden < encoder.groups.count else {
            throw MRPError(
                .argument,
                "mask_ratio \(masks.ratio) hides \(hidden) of \(encoder.groups.count) groups: at least one must be hidden and one stay visible"
            )
        }
        return encoder.groups.count - hidden
    }

    private var outputs: Int { 3 * encoder.groups.size }

    public func parameters() -> [ParameterSpecification] {
        let width = decoder.width
        var list = [
            ParameterSpecification("mask_token", [width], .normal(std: 0.02), role: .token, storedShape: [1, 1, width])
        ]
        list += pointPositionParameters("decoder_pos_embed", channels: encoder.geometry.channels, width: width)
        for index in 0..<decoder.depth {
            list += transformerBlockParameters(
                "MAE_decoder.blocks.\(index)", width: width, hidden: decoder.hidden, hasQueryBias: encoder.hasQueryBias)
        }
        list += layerNormParameters("MAE_decoder.norm", width: width)
        let bound = 1 / Double(width).squareRoot()
        return list + [
            ParameterSpecification("increase_dim.0.weight", [outputs, width], .uniform(bound: bound), storedShape: [outputs, width, 1]),
            ParameterSpecification("increase_dim.0.bias", [outputs], .uniform(bound: bound), role: .bias),
        ]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        guard masks.pattern == .block, step.masking == nil else {
            return try masks.prepare(step, encoder.geometry, visibleCount: visibleCount(), program)
        }
        try centreMasks(step, program).fill(program)
        return true
    }

    /// The groups whose centres are nearest to that of one at random are hidden.
    private func centreMasks(_ step: TrainingStep, _ program: any Program) throws -> PatchMask {
        let (count, channels, row) = (encoder.groups.count, encoder.geometry.channels, encoder.geometry.width)
        let visible = try visibleCount()
        var order: [Int32] = []
        try program.withInput(Inputs.imagesName, as: Float.self) { images in
            for image in 0..<step.batch {
                var numbers = UniformNumbers(seed: step.seed, .blockMask, step: step.step, place: step.slice.first + image)
                let chosen = numbers.integer(below: count)
                func square(_ group: Int) -> Float {
                    (0..<3).reduce(0) { sum, axis in
                        let plane = (image * channels + axis) * count
                        let difference = images[(plane + group) * row] - images[(plane + chosen) * row]
                        return sum + difference * difference
                    }
                }
                let squares = (0..<count).map(square)
                let farthestFirst = (0..<count).sorted { (squares[$0], $0) > (squares[$1], $1) }
                order += farthestFirst.prefix(visible).sorted().map(Int32.init) + farthestFirst.dropFirst(visible).sorted().map(Int32.init)
            }
        }
        return PatchMask(order: order, batch: step.batch, count: count, visibleCount: visible)
    }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, count) = (builder.graph, encoder.groups.count)
        let visibleCount = try visibleCount()
        let images = Inputs.images(graph, encoder.geometry, batch: batch)
        let visible = graph.input(PatchMask.visibleInput, TensorType([batch, visibleCount], .int32), filledBy: .masks)
        let hidden = graph.input(PatchMask.hiddenInput, TensorType([batch, count - visibleCount], .int32), filledBy: .masks)
        let tokens = try encoder.tokens(images, visible: visible, builder)
        try builder.watchFeatures(tokens, of: encoder)
        let hiddenPixels = try encoder.groupPixels(images, hidden, graph)
        let centres = try [encoder.groupPixels(images, visible, graph), hiddenPixels].map { try encoder.centres($0, batch: batch, builder) }
        let predicted = try decode(tokens, centres, builder)
        let target = try coordinates(encoder.groupPoints(hiddenPixels, graph), builder)
        return try graph.apply(ChamferDistance(), [predicted, target])[0]
    }

    /// The points of the hidden groups, [B M, size, 3]: the decoder's tokens are the visible ones, then the hidden ones, each with its centre's
    /// position before every block.
    private func decode(_ tokens: Value, _ centres: [Value], _ builder: NetworkBuilder) throws -> Value {
        let (graph, batch) = (builder.graph, builder.graph.shape(of: tokens)[0])
        let (visible, hidden) = (graph.shape(of: centres[0])[1], graph.shape(of: centres[1])[1])
        let none = { (count: Int) in [Int32](repeating: -1, count: count) }
        let (first, last) = (
            try graph.constant(indices: (0..<Int32(visible)) + none(hidden)),
            try graph.constant(indices: none(visible) + (0..<Int32(hidden)))
        )
        let positions = try graph.apply(
            Add(),
            [
                builder.gather(builder.pointPositions("decoder_pos_embed", centres[0]), ids: first),
                builder.gather(builder.pointPositions("decoder_pos_embed", centres[1]), ids: last),
            ])[0]
        var x = try builder.gather(tokens, ids: first, fill: builder.weight("mask_token"))
        for index in 0..<decoder.depth {
            x = try builder.transformerBlock("MAE_decoder.blocks.\(index)", graph.apply(Add(), [x, positions])[0], heads: decoder.heads)
        }
        let rows = try builder.gather(x, ids: graph.constant(indices: (Int32(visible)..<Int32(visible + hidden)).map { $0 }))
        let points = try builder.linear("increase_dim.0", builder.layerNorm("MAE_decoder.norm", rows))
        return try graph.apply(Reshape([batch * hidden, encoder.groups.size, 3]), [points])[0]
    }

    /// x, y, z of points [S, k, C].
    private func coordinates(_ points: Value, _ builder: NetworkBuilder) throws -> Value {
        let (graph, channels) = (builder.graph, encoder.geometry.channels)
        guard channels > 3 else { return points }
        let shape = graph.shape(of: points)
        let values = try graph.apply(Reshape([shape[0] * shape[1], channels, 1]), [points])[0]
        return try graph.apply(Reshape([shape[0], shape[1], 3]), [builder.gather(values, ids: graph.constant(indices: [0, 1, 2]))])[0]
    }
}

extension PointMAE {
    public static let usualMasks = MaskChoice(.random, ratio: 0.6)

    public static let descriptor = ObjectiveDescriptor(
        name, source: "Pang et al. 2022", remark: "point clouds", usualMasks: usualMasks, takesPoints: true,
        misfit: { $0 is PointTransformer ? nil : "needs a point transformer as encoder: it predicts the points of hidden groups" },
        make: { request in
            guard let encoder = request.encoder as? PointTransformer else {
                throw MRPError(.unsupported, "objective \(name) needs a point transformer as encoder")
            }
            let options = request.options
            let decoder = try TransformerConfiguration(
                width: encoder.transformer.width, depth: options[NetworkOptions.decoderDepth],
                heads: options.given(NetworkOptions.decoderHeads) ?? encoder.transformer.heads,
                hidden: options.mlpWidth(encoder.transformer.width), role: "decoder")
            return try PointMAE(encoder, decoder: decoder, masks: request.masks)
        })
}
