import MRPEngine
import MRPModels
import MRPOptions

/// The masked autoencoder of He et al. 2021 ("Masked Autoencoders Are Scalable Vision Learners"): the encoder sees the visible
/// patches only; the decoder predicts the pixels of the hidden ones; the loss is the mean squared error over hidden patches,
/// against raw pixels or against pixels standardised per patch (`norm_pix_loss`).
public struct MaskedAutoencoder: PixelReconstruction {
    public static let name = "mae"

    public let encoder: any TokenEncoder
    public let decoder: MaskedDecoder
    public let masks: MaskChoice
    public let normalizesTargets: Bool
    private var givenVisibleCount: Int?

    public init(
        _ encoder: any TokenEncoder, decoder: MaskedDecoder, masks: MaskChoice = usualMasks, normalizesTargets: Bool
    ) {
        self.encoder = encoder
        self.decoder = decoder
        self.masks = masks
        self.normalizesTargets = normalizesTargets
    }

    public func visibleCount(ratio: Double? = nil) throws -> Int {
        if ratio == nil, let givenVisibleCount { return givenVisibleCount }
        return try masks.visibleCount(encoder.geometry, ratio: ratio)
    }

    public func withVisibleCount(_ count: Int) -> MaskedAutoencoder {
        var result = self
        result.givenVisibleCount = count
        return result
    }

    public func parameters() -> [ParameterSpecification] { decoder.parameters(for: encoder) }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        try masks.prepare(step, encoder.geometry, visibleCount: visibleCount(), program)
    }

    /// The loss of a batch: sum over hidden patches of the mean squared error of a patch, divided by the number of hidden patches.
    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, hiddenCount) = (builder.graph, try encoder.geometry.count - visibleCount())
        let images = Inputs.images(graph, encoder.geometry, batch: batch)
        let (tokens, restore) = try encoder.visibleTokens(images, count: visibleCount(), builder)
        let hidden = graph.input(PatchMask.hiddenInput, TensorType([batch, hiddenCount], .int32), filledBy: .masks)
        let rows = graph.input(PatchMask.hiddenRowsInput, TensorType([batch, hiddenCount], .int32), filledBy: .masks)
        let prediction = try decoder.decode(tokens, restore: restore, predicted: rows, builder)
        var target = try graph.apply(ExtractPatches(encoder.geometry, order: .channelsLast), [images, hidden])[0]
        if normalizesTargets { target = try graph.apply(StandardizeRows(), [target])[0] }
        return try graph.apply(MeanSquaredError(), [prediction, target])[0]
    }

    /// Predictions for all patches [B, L, p^2 C], the visible ones too.
    public func prediction(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let images = Inputs.images(builder.graph, encoder.geometry, batch: batch)
        let (tokens, restore) = try encoder.visibleTokens(images, count: visibleCount(), builder)
        let rows = try builder.graph.constant(indices: (1...Int32(encoder.geometry.count)).map { $0 })
        return try decoder.decode(tokens, restore: restore, predicted: rows, builder)
    }
}

extension MaskedAutoencoder {
    public static let usualMasks = MaskChoice(.random, ratio: 0.75)

    public static let descriptor = ObjectiveDescriptor(
        name, source: "He et al. 2021", usualMasks: usualMasks,
        misfit: {
            $0.tokenEncoder == nil
                ? "needs a vision transformer as encoder: its decoder takes tokens, a convolutional network learns pixels by spark or simmim"
                : nil
        },
        names: names, read: { try read($0, &$1) }, infer: { try infer($0, $1, &$2) },
        make: { request in
            let former = (request.former as? MaskedAutoencoder)?.decoder
            return MaskedAutoencoder(
                try request.tokenEncoder(), decoder: try former ?? MaskedDecoder(request.options.decoder()), masks: request.masks,
                normalizesTargets: request.options[ObjectiveOptions.normPixLoss])
        })
}
