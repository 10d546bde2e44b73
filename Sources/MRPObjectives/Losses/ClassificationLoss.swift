import MRPEngine
import MRPModels
import MRPOptions

/// Loss of class scores.
public protocol ClassificationLoss: Sendable {
    /// Mean loss of scores [B, K] against labels [B] int32, a scalar.
    func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value

    /// The same against shares of the classes [B, K], which add up to 1 in each row: for images that are mixed.
    func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value

    /// Fills inputs of its own, once labels [B], and for images that are mixed the shares [B, K], are there.
    func prepare(labels: UnsafeBufferPointer<Int32>, shares: UnsafeBufferPointer<Float>?, _ program: any Program) throws

    /// The loss that compares the features, beside that of the scores; nil: none.
    var featureLoss: (any FeatureLoss)? { get }

    /// Exponent of the classes' prior that it takes out of the scores; 0: they follow the frequencies of training (`ClassPrior`).
    var removedPrior: Double { get }
}

extension ClassificationLoss {
    public func prepare(labels: UnsafeBufferPointer<Int32>, shares: UnsafeBufferPointer<Float>?, _ program: any Program) throws {}
    public var removedPrior: Double { 0 }
    public var featureLoss: (any FeatureLoss)? { nil }
}

/// A loss of the pooled features beside the classifier's, on views of its own or on the classifier's.
public protocol FeatureLoss: Sendable {
    /// For measures and errors.
    var name: String { get }
    /// Factor beside the classifier's loss.
    var weight: Double { get }
    /// Views of each image beside the classifier's; 0: it takes those.
    var views: Int { get }

    /// Weights and estimates that it has, for features of this width.
    func parameters(featureWidth: Int) -> [ParameterSpecification]

    /// Loss of features [views x B, width], view by view, of images with labels [B] int32; a scalar.
    func loss(_ features: Value, labels: Value, batch: Int, _ builder: NetworkBuilder) throws -> Value

    /// Fills inputs of its own.
    func prepare(_ step: TrainingStep, _ program: any Program) throws
}

/// Everything about a classification loss beside its formula; it stands in the loss's own file.
public struct LossDescriptor: Named {
    /// As in option `loss`.
    public let name: String
    public let source: String
    /// Options that it reads.
    public let options: [any OptionDeclaration]
    public let make: @Sendable (LossRequest) throws -> any ClassificationLoss

    public init(
        _ name: String, source: String, options: [any OptionDeclaration] = [],
        make: @escaping @Sendable (LossRequest) throws -> any ClassificationLoss
    ) {
        self.name = name
        self.source = source
        self.options = options
        self.make = make
    }
}

/// A loss that is wanted.
public struct LossRequest {
    public let options: Options
    public let classes: Int
    /// Class of each training image; nil: the dataset has none.
    public let labels: UnsafeBufferPointer<Int32>?
    /// Images by class, those that option `class_counts` says, else those of the labels.
    public let frequencies: ClassFrequencies

    public init(options: Options, classes: Int, labels: UnsafeBufferPointer<Int32>?, frequencies: ClassFrequencies) {
        self.options = options
        self.classes = classes
        self.labels = labels
        self.frequencies = frequencies
    }
}

/// The classification losses: one list. A new one is a file with its descriptor, and an entry here.
public enum Losses {
    public static let registry = Registry<LossDescriptor>(
        "loss", [CrossEntropy.descriptor, BalancedCrossEntropy.descriptor, LogitAdjusted.descriptor, ProCo.descriptor])
}
