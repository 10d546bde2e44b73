import MRPEngine

/// A linear classifier on pooled features. Names and initialisation of its parameters are the encoder's (`classifierParameters`).
public struct ClassifierHead: Head, Equatable {
    public static let name = "classify"

    public let classes: Int
    public let pooling: Pooling
    /// Standard deviation of a fresh matrix; nil: as is usual for the encoder.
    public let std: Double?

    public static let maximumClasses = 1 << 24

    public init(classes: Int, pooling: Pooling, std: Double? = nil) throws {
        guard classes >= 2, classes <= Self.maximumClasses else {
            throw MRPError(.argument, "\(classes) classes is outside 2 ... \(Self.maximumClasses)")
        }
        self.classes = classes
        self.pooling = pooling
        self.std = std
    }

    public var featurePooling: Pooling? { pooling }
    public var isClassifier: Bool { true }

    public var settings: [(key: String, value: JSON)] {
        [("classes", .integer(classes)), ("pooling", .string(pooling.rawValue))]
    }

    public func parameters(on encoder: any ImageEncoder) throws -> [ParameterSpecification] {
        let usual = try encoder.classifierParameters(self)
        guard let std else { return usual }
        return usual.map { $0.role == .weight ? $0.initialized(by: .normal(std: std)) : $0 }
    }

    public func outputs(_ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder) throws -> Value {
        try encoder.logits(images, self, builder)
    }
}
