import MRPEngine

/// A configuration that describes an encoder: ours, or a `config.json` of transformers.
public struct EncoderFile {
    public let configuration: JSON
    /// Our own part of it, `libmrp`.
    public let settings: JSON
    /// The tensors beside the configuration, where they are at hand.
    public let weights: (any WeightShapes)?

    public init(configuration: JSON, settings: JSON, weights: (any WeightShapes)?) {
        self.configuration = configuration
        self.settings = settings
        self.weights = weights
    }
}

extension JSON {
    /// An integer that a configuration must have.
    public func integer(of key: String) throws -> Int {
        guard let value = self[key]?.integer else { throw MRPError(.format, "the configuration has no integer '\(key)'") }
        return value
    }

    /// A height and a width that a configuration must have, as two integers or as one for both.
    public func size(of key: String) throws -> (height: Int, width: Int) {
        if let value = self[key]?.integer { return (value, value) }
        if let values = self[key]?.array, values.count == 2, let height = values[0].integer, let width = values[1].integer {
            return (height, width)
        }
        throw MRPError(.format, "the configuration has no size '\(key)'")
    }
}
