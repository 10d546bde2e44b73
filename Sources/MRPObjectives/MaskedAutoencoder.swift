import MRPEngine
import MRPModels

/// The masked autoencoder of He et al. 2021 ("Masked Autoencoders Are Scalable Vision Learners"): the encoder sees the visible
/// patches only; the decoder predicts the pixels of the hidden ones; the loss is the mean squared error over hidden patches,
/// against raw pixels or against pixels standardised per patch (`norm_pix_loss`).
public struct MaskedAutoencoder: PixelReconstruction {
    public static let name = "mae"
    public static let usualMaskRatio = 0.75

    public let encoder: VisionTransformer
    public let decoder: MaskedDecoder
    public let masks: MaskChoice
    public let normalizesTargets: Bool
    private var givenVisibleCount: Int?

    public static let imagesInput = "images"

    public init(
        _ encoder: VisionTransformer, decoder: MaskedDecoder, maskRatio: Double, normalizesTargets: Bool, pattern: MaskPattern = .random
    ) {
        self.encoder = encoder
        self.decoder = decoder
        masks = MaskChoice(pattern, ratio: maskRatio)
        self.normalizesTargets = normalizesTargets
    }

    public func visibleCount() throws -> Int {
        try givenVisibleCount ?? masks.visibleCount(encoder.geometry)
    }

    public func withVisibleCount(_ count: Int) -> MaskedAutoencoder {
        var result = self
        result.givenVisibleCount = count
        return result
    }

    public func parameters() -> [ParameterSpecification] { decoder.parameters(for: encoder) }

    public func prepare(_ step: ObjectiveStep, _ program: any Program) throws -> Bool {
        try masks.prepare(step, encoder.geometry, visibleCount: visibleCount(), program)
    }

    public static func images(_ graph: Graph, _ geometry: PatchGeometry, batch: Int) -> Value {
        graph.input(imagesInput, TensorType([batch] + geometry.imageShape), filledBy: .loader)
    }

    /// The loss of a batch: sum over hidden patches of the mean squared error of a patch, divided by the number of hidden patches.
    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, hiddenCount) = (builder.graph, try encoder.geometry.count - visibleCount())
        let images = Self.images(graph, encoder.geometry, batch: batch)
        let (tokens, restore) = try encoder.visibleTokens(images, count: visibleCount(), builder)
        let hidden = graph.input(PatchMask.hiddenInput, TensorType([batch, hiddenCount], .int32), filledBy: .masks)
        let rows = graph.input(PatchMask.predictedInput, TensorType([batch, hiddenCount], .int32), filledBy: .masks)
        let prediction = try decoder.decode(tokens, restore: restore, predicted: rows, builder)
        var target = try graph.apply(ExtractPatches(encoder.geometry, order: .channelsLast), [images, hidden])[0]
        if normalizesTargets { target = try graph.apply(StandardizeRows(), [target])[0] }
        return try graph.apply(MeanSquaredError(), [prediction, target])[0]
    }

    /// Predictions for all patches [B, L, p^2 C], the visible ones too.
    public func prediction(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let images = Self.images(builder.graph, encoder.geometry, batch: batch)
        let (tokens, restore) = try encoder.visibleTokens(images, count: visibleCount(), builder)
        let rows = try builder.graph.constant(indices: (1...Int32(encoder.geometry.count)).map { $0 })
        return try decoder.decode(tokens, restore: restore, predicted: rows, builder)
    }
}
