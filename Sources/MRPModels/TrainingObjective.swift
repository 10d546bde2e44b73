import MRPEngine

/// Everything that a training run needs to know of its goal: which losses, of which inputs, with which weights; how a step fills these
/// inputs; which weights follow others. Pretraining objectives and heads with their losses both are one, so that `Trainer` knows no phases.
public protocol TrainingObjective: Sendable {
    /// For progress and errors.
    var objectiveName: String { get }

    /// Losses of a batch, appended to the graph; the run makes the weighted sum smaller.
    func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss]

    /// Fills the inputs of one step, for example masks or labels, once the images are there. False when a function of the caller's stops
    /// the run.
    func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool

    /// Whether a parameter that may be trained is: a probe trains the head alone.
    func trains(_ parameter: ParameterSpecification, of model: Model) -> Bool

    /// Whether batch norms take the batch's statistics and update their running ones.
    var updatesStatistics: Bool { get }

    /// Weights that follow others as exponential moving averages after each step (a teacher).
    var averages: [MovingAverage.Pair] { get }

    /// EMA decay of these in the step after `fraction` (0 ... 1) of the run.
    func emaDecay(fraction: Double) -> Double

    /// Factor of a loss that enters slowly (`StepScalar.lossRamp`) in the step after `fraction` (0 ... 1) of the run.
    func lossRamp(fraction: Double) -> Double

    /// Whether it takes masks, and targets, of the caller's.
    var takesMasks: Bool { get }
    var takesTargets: Bool { get }

    /// Whether it reads the pixel masks of the images.
    var readsPixelTargets: Bool { get }

    /// Weights that are measured on the data before the first step (a codebook); nil: none.
    var measured: MeasuredWeights? { get }

    /// Views of each image that a step sees. The batch lies view by view in its inputs.
    var views: TrainingViews { get }

    /// Weights and estimates that training has beside the model's: checkpoints keep them, models do not.
    var companions: [ParameterSpecification] { get }

    /// Exponent of the classes' prior that a classifier's loss takes out of its scores (`ClassPrior`).
    var removedPrior: Double { get }
}

extension TrainingObjective {
    public func trains(_ parameter: ParameterSpecification, of model: Model) -> Bool { true }
    public var updatesStatistics: Bool { true }
    public var averages: [MovingAverage.Pair] { [] }
    public func emaDecay(fraction: Double) -> Double { 1 }
    public func lossRamp(fraction: Double) -> Double { 1 }
    public var takesMasks: Bool { false }
    public var takesTargets: Bool { false }
    public var readsPixelTargets: Bool { false }
    public var measured: MeasuredWeights? { nil }
    public var removedPrior: Double { 0 }
    public var views: TrainingViews { TrainingViews() }
    public var companions: [ParameterSpecification] { [] }
}

/// Differently augmented views of each image in a step.
public struct TrainingViews: Equatable, Sendable {
    /// With the augmentation of training, the first.
    public var plain: Int
    /// With the stronger one of contrastive learning: the side, 0 or 1, of each. The sides may differ in blur and solarisation.
    public var bySide: [Int]

    public init(plain: Int = 1, contrastive: Int = 0) { (self.plain, bySide) = (plain, Array(repeating: 0, count: contrastive)) }

    public init(bySide: [Int]) { (plain, self.bySide) = (0, bySide) }

    public var contrastive: Int { bySide.count }
    public var count: Int { plain + bySide.count }
}

/// A term of a training run's loss: a scalar of the graph.
public struct Loss {
    public let name: String
    public let value: Value
    public let weight: Double

    public init(_ name: String, _ value: Value, weight: Double = 1) {
        self.name = name
        self.value = value
        self.weight = weight
    }

    /// Weighted sum of the terms.
    public static func total(_ losses: [Loss], in graph: Graph) throws -> Value {
        var sum: Value?
        for loss in losses {
            let term = loss.weight == 1 ? loss.value : try graph.apply(Scale(loss.weight), [loss.value])[0]
            sum = try sum.map { try graph.apply(Add(), [$0, term])[0] } ?? term
        }
        guard let sum else { throw MRPError(.internalError, "an objective without a loss") }
        return sum
    }
}

/// Measurement of weights on the data before the first step.
public struct MeasuredWeights: Sendable {
    /// Images that are looked at, at most.
    public let sampleSize: Int
    /// Whether these weights still have to be measured.
    public let isDue: @Sendable (Parameters) -> Bool
    /// Writes the weights; `sample` [N, C, H, W] are images as the network sees them, without augmentation.
    public let measure: @Sendable (_ sample: Tensor, _ parameters: Parameters, _ backend: any Backend, _ seed: UInt64) throws -> Void

    public init(
        sampleSize: Int, isDue: @escaping @Sendable (Parameters) -> Bool,
        measure: @escaping @Sendable (_ sample: Tensor, _ parameters: Parameters, _ backend: any Backend, _ seed: UInt64) throws -> Void
    ) {
        self.sampleSize = sampleSize
        self.isDue = isDue
        self.measure = measure
    }
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

/// One step, or a part of it, as an objective sees it when it fills its inputs. Random numbers are functions of seed, step and place in the
/// global batch alone.
public struct TrainingStep {
    /// Places of this batch in the global one.
    public let slice: BatchSlice
    public let seed: UInt64
    /// Global batches before this one.
    public let step: Int
    /// Numbers of the images in the dataset.
    public let indices: UnsafeBufferPointer<Int64>
    /// Classes of the images, -1 where the dataset has none.
    public let labels: UnsafeBufferPointer<Int32>
    /// The caller's masks; nil: the objective's own.
    public let masking: Masking?
    /// The caller's targets, where the objective takes some.
    public let targets: Targets?
    /// True in the first step of an epoch.
    public let startsEpoch: Bool
    /// Ids of the pixels [B, views, H, W], for an objective that reads them; the views of an image follow each other.
    public let pixelTargets: UnsafeBufferPointer<Int32>?

    public var batch: Int { slice.count }

    public init(
        slice: BatchSlice, seed: UInt64, step: Int, indices: UnsafeBufferPointer<Int64>, labels: UnsafeBufferPointer<Int32>,
        masking: Masking? = nil, targets: Targets? = nil, startsEpoch: Bool = false, pixelTargets: UnsafeBufferPointer<Int32>? = nil
    ) {
        self.slice = slice
        self.seed = seed
        self.step = step
        self.indices = indices
        self.labels = labels
        self.masking = masking
        self.targets = targets
        self.startsEpoch = startsEpoch
        self.pixelTargets = pixelTargets
    }
}
