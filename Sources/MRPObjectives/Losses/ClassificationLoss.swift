import MRPEngine
import MRPOptions

/// Loss of class scores.
public protocol ClassificationLoss: Sendable {
    /// Mean loss of scores [B, K] against labels [B] int32, a scalar.
    func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value

    /// The same against shares of the classes [B, K], which add up to 1 in each row: for images that are mixed.
    func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value
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
}

/// The classification losses: one list. A new one is a file with its descriptor, and an entry here.
public enum Losses {
    public static let registry = Registry<LossDescriptor>("loss", [CrossEntropy.descriptor])
}
