import MRPEngine

/// Objective of pretraining without labels. Its weights beside the encoder's (a decoder, mask tokens, a teacher) are the model's while
/// it pretrains, so checkpoints and files hold them; fine-tuning drops them.
public protocol PretrainingObjective: TrainingObjective {
    /// As in option `objective` and in files.
    static var name: String { get }

    /// The weights that it has beside the encoder's.
    func parameters() -> [ParameterSpecification]

    /// Loss of a batch, a scalar.
    func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value

    /// Whether model files keep its weights. Mask tokens, predictors and teachers are of no use without the run that made them: they are
    /// made anew when pretraining begins again.
    var isKeptInFiles: Bool { get }

    /// The weights that files keep, where they keep it: of all, those that are of use without the run.
    func keptParameters() -> [ParameterSpecification]

    /// The feature pyramid that it trains; nil: none. Heads that read one of the same width begin with its weights.
    var pyramid: FeaturePyramid? { get }

    /// Members of a model's configuration that describe a kept objective, with the keys of transformers where it has some.
    var configuration: [(key: String, value: JSON)] { get }

    /// Description of a kept objective without a `configuration`, beside its name, under `libmrp.objective`.
    var settings: [(key: String, value: JSON)] { get }

    /// The objective with the same weights where a file's encoder was made fit for other images; `former` is what the file had. nil, with a
    /// note: its weights do not fit.
    func adapted(to encoder: any ImageEncoder, from former: PatchGeometry, _ notes: inout [String]) throws -> (any PretrainingObjective)?

    /// Itself, where its prediction can be shown as an image.
    var reconstruction: (any PixelReconstruction)? { get }
}

extension PretrainingObjective {
    public var name: String { Self.name }
    public var objectiveName: String { Self.name }
    public var isKeptInFiles: Bool { false }
    public func keptParameters() -> [ParameterSpecification] { isKeptInFiles ? parameters() : [] }
    public var pyramid: FeaturePyramid? { nil }
    public var configuration: [(key: String, value: JSON)] { [] }
    public var settings: [(key: String, value: JSON)] { [] }
    public var reconstruction: (any PixelReconstruction)? { nil }
    public var takesMasks: Bool { true }

    public func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] { [Loss(name, try loss(builder, batch: batch))] }

    public func adapted(
        to encoder: any ImageEncoder, from former: PatchGeometry, _ notes: inout [String]
    ) throws -> (any PretrainingObjective)? {
        if encoder.geometry == former { return self }
        notes.append("the decoder is left out: it was made for other images or cells")
        return nil
    }
}

/// An objective whose prediction can be shown as an image.
public protocol PixelReconstruction: PretrainingObjective {
    /// Whether patches are predicted standardised: a picture then needs the true mean and standard deviation of each.
    var normalizesTargets: Bool { get }

    /// Patches of each image that the encoder sees with this share of them hidden, by the objective's own rounding; throws when a mask leaves
    /// none, or hides none. nil: with its own share.
    func visibleCount(ratio: Double?) throws -> Int

    /// The same objective for masks that leave this many patches visible.
    func withVisibleCount(_ count: Int) -> Self

    /// Predictions for all patches [B, L, p^2 C], ordered (row, column, channel) inside a patch.
    func prediction(_ builder: NetworkBuilder, batch: Int) throws -> Value
}

extension PixelReconstruction {
    public var isKeptInFiles: Bool { true }
    public var reconstruction: (any PixelReconstruction)? { self }
}
