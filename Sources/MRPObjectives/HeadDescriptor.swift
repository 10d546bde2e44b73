import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Everything about a head beside its network: it stands beside the objective that trains it.
public struct HeadDescriptor: Named {
    /// As in option `task` and in files.
    public let name: String
    public let summary: String
    /// Options of its own that it reads.
    public let options: [any OptionDeclaration]
    /// The head for the images of a dataset; throws when they lack what it learns from.
    public let make: @Sendable (HeadRequest) throws -> any Head
    /// Training of a head that `make` made.
    public let objective: @Sendable (any Head, HeadRequest) throws -> any TrainingObjective
    /// Names of its weights in the spellings of others; none: those that its encoder knows.
    public let names: [NameRow]
    /// The head that a model file describes.
    public let read: @Sendable (HeadFile) throws -> any Head

    public init(
        _ name: String, _ summary: String, options: [any OptionDeclaration] = [], names: [NameRow] = [],
        make: @escaping @Sendable (HeadRequest) throws -> any Head,
        objective: @escaping @Sendable (any Head, HeadRequest) throws -> any TrainingObjective,
        read: @escaping @Sendable (HeadFile) throws -> any Head
    ) {
        self.name = name
        self.summary = summary
        self.options = options
        self.names = names
        self.make = make
        self.objective = objective
        self.read = read
    }
}

/// A head that is wanted: on which encoder, for which images.
public struct HeadRequest {
    public let encoder: any ImageEncoder
    public let dataset: any ImageDataset
    public let options: Options
    /// The feature pyramid of the model's pretraining; nil: it had none.
    public let pretrainedPyramid: FeaturePyramid?

    public init(
        encoder: any ImageEncoder, dataset: any ImageDataset, options: Options, pretrainedPyramid: FeaturePyramid? = nil
    ) {
        self.encoder = encoder
        self.dataset = dataset
        self.options = options
        self.pretrainedPyramid = pretrainedPyramid
    }

    /// Width of the feature pyramid that the head reads.
    public var pyramidWidth: Int {
        options[Segmentation.pyramidWidth] ?? pretrainedPyramid?.width ?? FeaturePyramid.usualWidth(encoder.geometry)
    }
}

/// A model file that describes a head.
public struct HeadFile {
    /// Our own description (`libmrp` of the configuration).
    public let settings: JSON
    public let encoder: any ImageEncoder

    public init(settings: JSON, encoder: any ImageEncoder) {
        self.settings = settings
        self.encoder = encoder
    }
}

/// The heads, by the task that they are for: one list. A new one is a file with its network, its objective and its descriptor, and an entry
/// here.
public enum Heads {
    public static let registry = Registry<HeadDescriptor>(
        "task", [Classification.descriptor, Segmentation.descriptor, InstanceSegmentation.descriptor])
}
