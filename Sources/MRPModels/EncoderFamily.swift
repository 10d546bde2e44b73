import MRPEngine
import MRPOptions

/// Everything about a kind of encoder beside its network: how it is made from options, described in configurations and known by its weights.
/// It stands in the folder of the network. An encoder itself says the rest that files have to know of it (`StoredEncoder`).
public struct EncoderFamily: Named {
    /// The field's word for such an encoder, as errors have it: "residual network".
    public let name: String
    /// Names of its sizes, as in option `encoder`.
    public let sizes: [String]
    /// A sentence on the sizes for the manual.
    public let summary: String
    /// Options that it reads beside those of all encoders.
    public let options: [any OptionDeclaration]
    /// Values of `model_type` in configurations of such encoders.
    public let modelTypes: [String]
    /// Names of the weights in files.
    public let names: StoredNames
    /// The encoder of one of the sizes for the images that the options describe.
    public let make: @Sendable (_ size: String, Options) throws -> any ImageEncoder
    /// Whether a JSON file says enough of a network to be a configuration.
    public let describes: @Sendable (JSON) -> Bool
    /// The encoder that a configuration describes.
    public let read: @Sendable (EncoderFile) throws -> any ImageEncoder
    /// The encoder of a file without a configuration; nil: the weights are not of this family. What is assumed is noted.
    public let infer: @Sendable (WeightFile, _ notes: inout [String]) throws -> (any ImageEncoder)?

    /// `describes` nil: a JSON file with one of the `modelTypes`.
    public init(
        _ name: String, sizes: [String], summary: String, options: [any OptionDeclaration] = [], modelTypes: [String], names: StoredNames,
        describes: (@Sendable (JSON) -> Bool)? = nil, make: @escaping @Sendable (_ size: String, Options) throws -> any ImageEncoder,
        read: @escaping @Sendable (EncoderFile) throws -> any ImageEncoder,
        infer: @escaping @Sendable (WeightFile, _ notes: inout [String]) throws -> (any ImageEncoder)? = { _, _ in nil }
    ) {
        self.name = name
        self.sizes = sizes
        self.summary = summary
        self.options = options
        self.modelTypes = modelTypes
        self.names = names
        self.describes = describes ?? { json in modelTypes.contains(json["model_type"]?.string ?? "") }
        self.make = make
        self.read = read
        self.infer = infer
    }
}
