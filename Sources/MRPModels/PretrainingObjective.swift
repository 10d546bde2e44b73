import MRPEngine

/// How an encoder is pretrained without labels: what the student sees, what it has to predict, and what the loss is.
///
/// An objective is attached to a model while it pretrains. Its weights beside the encoder's (a decoder, mask tokens, a teacher) are
/// among the model's, so checkpoints and files hold them; fine-tuning drops them.
public protocol PretrainingObjective: Sendable {
    /// As in option `objective` and in files.
    static var name: String { get }

    /// What a file has to say of it so that it can be made again for the same encoder.
    var settings: [(key: String, value: JSON)] { get }

    /// The weights that it has beside the encoder's.
    func parameters() -> [ParameterSpecification]

    /// Appends the loss of a batch to the graph, a scalar; the images are its input `images`.
    func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value

    /// Fills the inputs of one step but the images, for example the masks. False when a function of the caller stops the run.
    func prepare(_ step: ObjectiveStep, _ program: any Program) throws -> Bool

    /// Weights that follow others as exponential moving averages after each step (a teacher).
    var averages: [MovingAverage.Pair] { get }

    /// What an average keeps of itself in the step after `fraction` (0 ... 1) of the run.
    func averageDecay(fraction: Double) -> Double
}

extension PretrainingObjective {
    public var name: String { Self.name }
    public var settings: [(key: String, value: JSON)] { [] }
    public var averages: [MovingAverage.Pair] { [] }
    public func averageDecay(fraction: Double) -> Double { 1 }
}

/// An objective with weights that are measured on the data before the first step, such as a codebook.
public protocol MeasuredObjective: PretrainingObjective {
    /// Images that it wants to see, at most.
    var sampleSize: Int { get }

    /// Whether these weights still have to be measured.
    func needsMeasurement(_ parameters: Parameters) -> Bool

    /// Writes the weights; `sample` [N, C, H, W] are images as the network sees them, without augmentation.
    func measure(_ sample: Tensor, into parameters: Parameters, backend: any Backend, seed: UInt64) throws
}

/// An objective whose prediction can be shown as an image.
public protocol PixelReconstruction: PretrainingObjective {
    /// Whether patches are predicted standardised: a picture then needs the true mean and deviation of each.
    var normalizesTargets: Bool { get }

    /// Patches of each image that the encoder sees; throws when a mask leaves none, or hides none.
    func visibleCount() throws -> Int

    /// The same objective for masks that leave this many patches visible.
    func withVisibleCount(_ count: Int) -> Self

    /// Predictions for all patches [B, L, p^2 C], ordered (row, column, channel) inside a patch.
    func prediction(_ builder: NetworkBuilder, batch: Int) throws -> Value
}

/// Fills noise [B, L] for the images with these numbers in the dataset: the patches with the smallest values stay visible. False stops
/// the run.
public typealias Masking = (_ indices: UnsafeBufferPointer<Int64>, _ noise: UnsafeMutableBufferPointer<Float>) -> Bool

/// Fills targets [B, L, width] for the images with these numbers in the dataset, which the network sees as `images` [B, C, H, W] after
/// augmentation and standardisation; `patches` is L. False stops the run.
public typealias Targets = (
    _ indices: UnsafeBufferPointer<Int64>, _ images: UnsafeBufferPointer<Float>, _ patches: Int,
    _ targets: UnsafeMutableBufferPointer<Float>
) -> Bool

/// What an objective may know of a step when it fills its inputs. Random numbers are functions of seed and step alone.
public struct ObjectiveStep {
    public let batch: Int
    public let seed: UInt64
    /// Steps done before.
    public let step: Int
    /// Numbers of the images in the dataset.
    public let indices: UnsafeBufferPointer<Int64>
    /// The caller's masks; nil: the objective's own.
    public let masking: Masking?
    /// The caller's targets, where the objective takes some.
    public let targets: Targets?

    public init(
        batch: Int, seed: UInt64, step: Int, indices: UnsafeBufferPointer<Int64>, masking: Masking? = nil, targets: Targets? = nil
    ) {
        self.batch = batch
        self.seed = seed
        self.step = step
        self.indices = indices
        self.masking = masking
        self.targets = targets
    }
}
