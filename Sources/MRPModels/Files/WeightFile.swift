import MRPEngine
import MRPOptions

/// The weights of a file under our names, as far as it takes to work out the network that they belong to.
public protocol WeightShapes {
    /// The spelling that was recognised.
    var spelling: WeightNames { get }

    /// Stored shape of a weight; of one that is stored in parts, the first part's. nil: the file has no such weight.
    func shape(_ weight: String) -> [Int]?

    /// The name under which the file has a weight, for errors.
    func storedName(_ weight: String) -> String

    /// Numbers of a weight, in its stored shape; nil when they cannot be read. Errors: `.memory`.
    func tensor(_ weight: String) throws -> Tensor?

    /// Whether there is a weight whose name begins so.
    func has(_ prefix: String) -> Bool

    /// One more than the largest number of a series of blocks, as 12 for `blocks.0` ... `blocks.11`; at most 2^20.
    func depth(of series: String) -> Int
}

/// A file without a configuration that a family knows: what shapes cannot tell comes from options and from timm's `config.json`, or is
/// assumed.
public struct WeightFile {
    public let weights: any WeightShapes
    public let options: Options
    private let json: JSON

    /// `json` nil: no configuration of timm's.
    public init(weights: any WeightShapes, options: Options, json: JSON?) {
        self.weights = weights
        self.options = options
        self.json = json ?? .object([])
    }

    /// timm's description of the images that a network was trained on.
    public var pretrained: JSON { json["pretrained_cfg"] ?? json }

    /// A value of timm's `config.json`.
    func configured(_ key: String) -> JSON? { json[key] ?? json["pretrained_cfg"]?[key] }

    /// timm's name of the network, without the tag of its weights.
    var architecture: String? { configured("architecture")?.string.map { String($0.prefix { $0 != "." }) } }

    /// Whether Python has looked at the module that the weights come from.
    var isChecked: Bool { json["is_checked"]?.bool == true }

    /// The shape of a weight that must be there with so many dimensions.
    public func shape(_ weight: String, _ dimensions: Int) throws -> [Int] {
        guard let shape = weights.shape(weight) else {
            throw MRPError(.format, "there is no configuration, and '\(weight)' is missing")
        }
        guard shape.count == dimensions, shape.allSatisfy({ $0 > 0 }) else {
            throw MRPError(
                .format,
                "there is no configuration, and '\(weights.storedName(weight))' has shape \(shape) instead of \(dimensions) dimensions")
        }
        return shape
    }
}

extension MRPError {
    /// Sizes that a file gives and that fit no model are the file's fault, not the caller's.
    public static func ofFile<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as MRPError where error.code == .argument {
            throw MRPError(.format, "the model is impossible: \(error.message)")
        }
    }
}
