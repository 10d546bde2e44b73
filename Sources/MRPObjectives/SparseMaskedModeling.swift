import MRPEngine
import MRPModels
import MRPOptions

/// SparK (Tian et al. 2023, "Designing BERT for Convolutional Networks: Sparse and Hierarchical Masked Modeling"): cells of the size of
/// the network's downsampling are hidden, the encoder computes the visible ones only, a light decoder predicts the image from the
/// features of all stages, and the loss is the mean squared error over hidden cells, against pixels standardised per cell.
///
/// With `HiddenCells.zero` the same is done by the dense network on images whose hidden cells are zero: what SparK is compared with.
public struct SparseMaskedModeling: PixelReconstruction {
    public static let name = "spark"

    public let encoder: any ConvolutionalEncoder
    public let decoder: ConvolutionalDecoder
    public let masks: MaskChoice
    public let normalizesTargets: Bool
    public let hiddenCells: HiddenCells
    private var givenVisibleCount: Int?

    /// Throws when the decoder does not fit or when the image is not made of cells.
    public init(
        _ encoder: any ConvolutionalEncoder, decoder: ConvolutionalDecoder, masks: MaskChoice = usualMasks, normalizesTargets: Bool,
        hiddenCells: HiddenCells = .skip
    ) throws {
        try encoder.checkMaskable()
        try decoder.check(encoder)
        self.encoder = encoder
        self.decoder = decoder
        self.masks = masks
        self.normalizesTargets = normalizesTargets
        self.hiddenCells = hiddenCells
    }

    public func visibleCount(ratio: Double? = nil) throws -> Int {
        if ratio == nil, let givenVisibleCount { return givenVisibleCount }
        return try masks.visibleCount(encoder.geometry, ratio: ratio)
    }

    public func withVisibleCount(_ count: Int) -> SparseMaskedModeling {
        var result = self
        result.givenVisibleCount = count
        return result
    }

    public func parameters() -> [ParameterSpecification] { decoder.parameters(for: encoder, fillsHidden: hiddenCells == .skip) }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        try masks.prepare(step, encoder.geometry, visibleCount: visibleCount(), program)
    }

    /// The batch's images, and those that the network predicts, both [B, C, H, W].
    private func images(_ builder: NetworkBuilder, batch: Int) throws -> (given: Value, predicted: Value) {
        let images = Inputs.images(builder.graph, encoder.geometry, batch: batch)
        let (maps, visible) = try hiddenCells.stages(images, visibleCount: visibleCount(), encoder, builder)
        try builder.watchFeatures(maps[maps.count - 1].value, of: encoder)
        return (images, try decoder.decode(maps, visible: visible, for: encoder, builder))
    }

    /// The loss of a batch: sum over hidden cells of the mean squared error of a cell, divided by the number of hidden cells.
    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, hiddenCount) = (builder.graph, try encoder.geometry.count - visibleCount())
        let (given, predicted) = try images(builder, batch: batch)
        let hidden = graph.input(PatchMask.hiddenInput, TensorType([batch, hiddenCount], .int32), filledBy: .masks)
        let extraction = ExtractPatches(encoder.geometry, order: .channelsLast)
        let prediction = try graph.apply(extraction, [predicted, hidden])[0]
        var target = try graph.apply(extraction, [given, hidden])[0]
        if normalizesTargets { target = try graph.apply(StandardizeRows(), [target])[0] }
        return try graph.apply(MeanSquaredError(), [prediction, target])[0]
    }

    /// Predictions for all cells [B, L, p^2 C], the visible ones too.
    public func prediction(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let predicted = try images(builder, batch: batch).predicted
        return try builder.graph.apply(ExtractPatches(encoder.geometry, order: .channelsLast), [predicted, nil])[0]
    }
}

extension SparseMaskedModeling {
    public static let usualMasks = MaskChoice(.random, ratio: 0.6, roundsToNearest: true)

    public static let descriptor = ObjectiveDescriptor(
        name, source: "Tian et al. 2023", remark: "convolutional networks", usualMasks: usualMasks,
        misfit: {
            $0.convolutionalEncoder == nil ? "needs a convolutional network as encoder: a vision transformer takes mae" : nil
        },
        names: names, checkpoint: checkpoint, read: { file, _ in try read(file) },
        make: { request in
            let former = (request.former as? SparseMaskedModeling)?.decoder
            return try SparseMaskedModeling(
                request.convolutionalEncoder(),
                decoder: former ?? ConvolutionalDecoder(width: request.options[NetworkOptions.decoderWidth]), masks: request.masks,
                normalizesTargets: request.options[ObjectiveOptions.normPixLoss], hiddenCells: request.hiddenCells ?? .skip)
        })
}
