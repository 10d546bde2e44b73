import MRPEngine
import MRPModels
import MRPOptions

extension Montage {
    static let levelRange = 1...MontageLayout.mostLevels
    static let convolutionRange = 0...16
    static let widthRange = 2...65_536
    static let usualDecay = Teacher.Decay(0.99, 1)
    /// Shorter side of the smallest tiles that the usual number of levels has.
    static let smallestTile = 16

    public static let levels = Option(
        "montage_levels", .integer(levelRange), auto: "as many as leave tiles of \(smallestTile) pixels: 2 for 32 pixels, 4 for 224",
        section: .objective,
        "Levels of montage: level i sees montages of 2^i x 2^i images at a finer map of the pyramid; 1: whole images only. batch_size is a multiple of 4^(levels - 1)."
    )
    public static let predictorKind = Option(
        "montage_predictor", .choice(Predictors.self), default: .shared, section: .objective,
        "Predictor of montage: shared, one for all levels, with which the embeddings of a tile and of its whole image agree; per_level, one for each, as in Guo et al. 2023, with which they need not."
    )
    public static let sides = Option(
        "montage_sides", .integer(1...2), default: 2, section: .objective,
        "Sides of views in montage: 2, which are targets for each other (Guo et al. 2023); 1, with a view for the targets alone, at half the cost of a step."
    )
    public static let labels = Option(
        "montage_labels", .choice(Labels.self), default: .image, section: .objective,
        "What a tile of a montage is told to be: image, the image that it shows; shuffled, a random one, a control with which levels above 0 learn nothing."
    )
    public static let temperature = Option(
        "montage_temperature", .number(0.005...10), default: 0.2, section: .objective,
        "By what the cosines of montage are divided in the softmax (Guo et al. 2023: 1, with thousands of images in a batch).")
    public static let projectionWidth = Option(
        "projection_width", .integer(widthRange), auto: "128 below 64 pixels, else 256", section: .objective,
        "Montage: width of the embeddings that are compared.")
    public static let projectionHidden = Option(
        "projection_hidden", .integer(widthRange), auto: "256 below 64 pixels, else 2048", section: .objective,
        "Montage: width of the inner layer of head and predictor.")
    public static let convolutions = Option(
        "montage_convolutions", .integer(convolutionRange), auto: "1 below 64 pixels, else 4", section: .objective,
        "Montage: 3 x 3 convolutions of the head, on the cells of the pyramid's maps.")

    public enum Labels: String, CaseIterable, Sendable { case image, shuffled }

    public static let descriptor = ObjectiveDescriptor(
        name, source: "Guo et al. 2023", remark: "convolutional networks with a feature pyramid, contrastive", usualMasks: nil,
        usualTeacherDecay: usualDecay,
        options: [levels, predictorKind, sides, labels, temperature, projectionWidth, projectionHidden, convolutions],
        misfit: {
            $0.convolutionalEncoder == nil
                ? "needs a convolutional network as encoder, whose stages make a feature pyramid: a vision transformer takes ijepa" : nil
        },
        names: FeaturePyramid.names + MontageHead.names, read: { file, _ in try read(file) }, make: { try make($0) })

    private static func make(_ request: ObjectiveRequest) throws -> Montage {
        let (encoder, options) = (try request.convolutionalEncoder(), request.options)
        let shorter = min(encoder.geometry.height, encoder.geometry.width)
        var form = Form()
        form.levels = options[levels] ?? usualLevels(encoder)
        (form.sides, form.temperature) = (options[sides], options[temperature])
        (form.predictors, form.shufflesLabels) = (options[predictorKind], options[labels] == .shuffled)
        let width = options[Segmentation.pyramidWidth] ?? request.former?.pyramid?.width ?? FeaturePyramid.usualWidth(encoder.geometry)
        let head = try MontageHead(
            pyramid: FeaturePyramid(width: width), convolutions: options[convolutions] ?? (shorter < 64 ? 1 : 4),
            hidden: options[projectionHidden] ?? (shorter < 64 ? 256 : 2_048),
            width: options[projectionWidth] ?? (shorter < 64 ? 128 : 256))
        return try Montage(encoder, head, form, decay: request.teacher().decay)
    }

    private static func usualLevels(_ encoder: any ConvolutionalEncoder) -> Int {
        let (most, shorter) = (mostLevels(encoder), min(encoder.geometry.height, encoder.geometry.width))
        return (1...most).last { shorter >> ($0 - 1) >= smallestTile } ?? 1
    }
}
