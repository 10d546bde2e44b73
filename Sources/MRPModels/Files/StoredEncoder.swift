import MRPEngine
import MRPOptions

/// An encoder as model files see it. The defaults fit a network whose weights always have the same shapes and that no other library has.
public protocol StoredEncoder: Sendable {
    /// Descriptor by which it is made and read.
    var family: EncoderFamily { get }

    /// Members of a model's configuration that say which encoder it is, with the keys of Hugging Face's `config.json` where it has some:
    /// `family.read` reads them. Head and objective are the model's.
    func configuration(head: (any Head)?, objective: (any PretrainingObjective)?) -> [(key: String, value: JSON)]

    /// Beside these what only this library knows, under `libmrp`.
    var settings: [(key: String, value: JSON)] { get }

    /// Weights that files of others may lack.
    func optionalWeights(head: (any Head)?) -> [OptionalWeights]

    /// Pooling of a classifier that a file holds without saying how it pools.
    func pooling(in weights: any WeightShapes) -> Pooling

    /// The network of a file for other images, as the options of loading ask for it: those that are not set follow the file. Changes are
    /// noted; what is wanted and not possible, or not allowed, is an error that names the option.
    func adapted(_ options: Options, _ notes: inout [String]) throws -> any ImageEncoder

    /// Remarks on weights that were read from a file.
    func remarks(on parameters: Parameters) -> [String]
}

/// Weights that a file may lack, all of them together; they then have their initial values.
public struct OptionalWeights: Sendable {
    public let contains: @Sendable (_ weight: String) -> Bool
    /// A remark where they are missing.
    public let note: String
    /// Spellings whose files are written without them.
    public let unwrittenIn: Set<WeightNames>

    public init(note: String, unwrittenIn: Set<WeightNames> = [], contains: @escaping @Sendable (_ weight: String) -> Bool) {
        self.contains = contains
        self.note = note
        self.unwrittenIn = unwrittenIn
    }
}

extension ImageEncoder {
    public var settings: [(key: String, value: JSON)] { [] }
    public func optionalWeights(head: (any Head)?) -> [OptionalWeights] { [] }
    public func pooling(in weights: any WeightShapes) -> Pooling { .mean }
    public func remarks(on parameters: Parameters) -> [String] { [] }

    /// Itself, unless the options ask for other images.
    public func adapted(_ options: Options, _ notes: inout [String]) throws -> any ImageEncoder {
        let wanted = [
            options.given(NetworkOptions.channels) ?? geometry.channels, options.given(NetworkOptions.imageHeight) ?? geometry.height,
            options.given(NetworkOptions.imageWidth) ?? geometry.width,
        ]
        guard wanted == geometry.imageShape else {
            throw MRPError(.unsupported, "the file's \(family.name) takes images \(geometry.imageShape), the options want \(wanted)")
        }
        return self
    }

    /// A classifier that a file holds without describing it; nil: it has none.
    public func classifier(in weights: any WeightShapes) throws -> ClassifierHead? {
        let pooling = pooling(in: weights)
        guard let matrix = classifierParameters(pooling).first(where: { $0.role == .weight }),
            let classes = weights.shape(matrix.name)?.first
        else { return nil }
        return try ClassifierHead(classes: classes, pooling: pooling)
    }

    /// Names of the weights that classifiers on this encoder have.
    public var classifierNames: Set<String> { Set(Pooling.allCases.flatMap { classifierParameters($0).map(\.name) }) }

    /// Those of any number of classes; none where the encoder does not offer the pooling.
    private func classifierParameters(_ pooling: Pooling) -> [ParameterSpecification] {
        (try? classifierParameters(ClassifierHead(classes: 2, pooling: pooling))) ?? []
    }
}
