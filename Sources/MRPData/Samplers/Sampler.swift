import MRPEngine
import MRPOptions

/// The order of the examples of an epoch, a function of (seed, epoch, dataset) alone: training goes on from any step, and several
/// processes agree without talking.
public protocol Sampler: Sendable {
    /// As it appears in options and errors: `shuffle`.
    var name: String { get }
    /// Examples of an epoch; need not be the number of images.
    func examplesPerEpoch(of dataset: ImageDataset) -> Int
    /// Writes the numbers of an epoch's images into `order`, which has a place for each example. An image may come several times, or not
    /// at all. Called under the loader's lock: by one thread at a time, and no batch is begun meanwhile.
    func writeOrder(
        of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>) throws
    /// Exponent of the classes' prior that the order takes out: 1 where all classes come equally often.
    var removedPrior: Double { get }
}

extension Sampler {
    public var removedPrior: Double { 0 }
}

/// A kind of sampler, as options and documents see it.
public struct SamplerDescriptor: Named {
    public let name: String
    /// One sentence.
    public let summary: String
    /// Paper or program whose order this is; "" for elementary ones.
    public let source: String
    /// Options of its own that it reads.
    public let options: [any OptionDeclaration]
    /// Errors: `.argument` when the dataset lacks what the sampler needs.
    public let make: @Sendable (_ dataset: ImageDataset, _ options: Options) throws -> any Sampler

    public init(
        name: String, summary: String, source: String = "", options: [any OptionDeclaration] = [],
        make: @escaping @Sendable (_ dataset: ImageDataset, _ options: Options) throws -> any Sampler
    ) {
        (self.name, self.summary, self.source, self.options, self.make) = (name, summary, source, options, make)
    }
}

/// Kinds of samplers by name. A new one is a file here and an entry of this list, or an `add` from outside.
public enum Samplers {
    public static let registry = Registry<SamplerDescriptor>(
        "sampler", [ShuffledSampler.descriptor, SequentialSampler.descriptor, ClassBalancedSampler.descriptor])
}
