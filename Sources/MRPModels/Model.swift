import MRPEngine

/// How pixels become network inputs: (x / scale - mean) / deviation per channel, scale 255 for uint8, 65535 for uint16, 1 for
/// float images.
public struct Normalization: Equatable, Sendable {
    public var mean: [Double]
    public var deviation: [Double]

    public init(mean: [Double], deviation: [Double]) {
        self.mean = mean
        self.deviation = deviation
    }

    public static func identity(channels: Int) -> Normalization {
        Normalization(mean: Array(repeating: 0, count: channels), deviation: Array(repeating: 1, count: channels))
    }
}

/// A vision encoder with its weights, and the decoder and classifier that it has at the moment.
public final class Model {
    public let encoder: any ImageEncoder
    public private(set) var decoder: MaskedDecoder?
    public private(set) var head: ClassifierHead?
    public let parameters: Parameters
    /// Measured or given at the first training, then part of the model.
    public var normalization: Normalization?
    /// Names of the classes, index by index; empty when unknown.
    public var classNames: [String] = []
    /// Whether the encoder has been pretrained: fine-tuning then lowers the learning rate of the lower layers.
    public var isPretrained = false
    /// The objective's settings, kept with the model because its reconstructions depend on them.
    public var maskRatio = 0.75
    public var normalizesTargets = true

    /// What was assumed, left out or changed when the model was read from a file, line by line.
    public var notes: [String] = []

    /// A model with fresh weights, or with zeros where there is no seed.
    public init(encoder: any ImageEncoder, decoder: MaskedDecoder? = nil, head: ClassifierHead? = nil, seed: UInt64?) throws {
        self.encoder = encoder
        parameters = Parameters()
        try parameters.add(encoder.parameters(), seed: seed)
        if let decoder { try attach(decoder, seed: seed) }
        if let head { try attach(head, seed: seed) }
    }

    /// Gives the model a fresh decoder.
    public func attach(_ decoder: MaskedDecoder, seed: UInt64?) throws {
        detachDecoder()
        try parameters.add(decoder.parameters(for: transformer()), seed: seed)
        self.decoder = decoder
    }

    /// Gives the model a fresh head.
    public func attach(_ head: ClassifierHead, seed: UInt64?) throws {
        let additions = try encoder.headParameters(head, onPretrained: isPretrained)
        detachHead()
        try parameters.add(additions, seed: seed)
        self.head = head
    }

    public func detachDecoder() {
        guard let decoder, let encoder = encoder as? VisionTransformer else { return }
        let names = Set(decoder.parameters(for: encoder).map(\.name))
        parameters.retain { !names.contains($0) }
        self.decoder = nil
    }

    public func detachHead() {
        let names = headNames
        parameters.retain { !names.contains($0) }
        head = nil
    }

    /// The names of the head's weights; none without a head.
    public var headNames: Set<String> {
        // A head that is attached fits its encoder.
        let specifications = head.flatMap { try? encoder.headParameters($0, onPretrained: isPretrained) } ?? []
        return Set(specifications.map(\.name))
    }

    /// The encoder as a vision transformer, or an error for what only one of those can do.
    public func transformer() throws -> VisionTransformer {
        guard let transformer = encoder as? VisionTransformer else {
            throw MRPError(.unsupported, "mask reconstruction needs a vision transformer as encoder")
        }
        return transformer
    }

    /// `training` says whether batch norms take the batch's statistics and update their running ones.
    public func builder(_ graph: Graph, training: Bool = false) -> NetworkBuilder {
        NetworkBuilder(graph, parameters, epsilon: encoder.epsilon, training: training)
    }

    /// A model with its own copy of everything.
    public func copy() throws -> Model {
        let result = try Model(encoder: encoder, decoder: decoder, head: head, seed: nil)
        for (name, tensor) in parameters.tensors { result.parameters[name]?.copyElements(of: tensor) }
        result.normalization = normalization
        result.classNames = classNames
        result.isPretrained = isPretrained
        result.maskRatio = maskRatio
        result.normalizesTargets = normalizesTargets
        result.notes = notes
        return result
    }
}
