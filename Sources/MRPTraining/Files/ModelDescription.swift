import MRPEngine
import MRPModels
import MRPObjectives

/// Everything about a model but its weights.
struct ModelDescription {
    var encoder: any ImageEncoder
    /// Of a masked autoencoder.
    var decoder: MaskedDecoder?
    /// Any other objective that the model was saved with.
    var objective: (any PretrainingObjective)?
    var head: ClassifierHead?
    /// Of a fresh head's matrix; nil: as is usual for the encoder.
    var headDeviation: Double?
    var normalization: Normalization?
    var classNames: [String] = []
    var isPretrained = true
    var maskRatio = MaskedAutoencoder.usualMaskRatio
    var normalizesTargets = false
    /// What had to be assumed, or is left out.
    var notes: [String] = []

    init(encoder: any ImageEncoder) { self.encoder = encoder }

    /// The weights that such a model has; throws when the encoder cannot have that decoder or head.
    func specifications() throws -> [ParameterSpecification] {
        var result = encoder.parameters()
        if let decoder { result += decoder.parameters(for: try transformer("a decoder")) }
        if let objective { result += objective.parameters() }
        if let head { result += try encoder.headParameters(head, deviation: headDeviation) }
        return result
    }

    /// The encoder as a vision transformer, or an error for what is asked of another.
    func transformer(_ wish: String) throws -> VisionTransformer {
        guard let transformer = encoder as? VisionTransformer else {
            throw MRPError(.unsupported, "\(wish) needs a vision transformer, the encoder is a convolutional network")
        }
        return transformer
    }

    /// Sizes that a file gives and that fit no model are the file's fault, not the caller's.
    static func fromFile<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch let error as MRPError where error.code == .argument {
            throw MRPError(.format, "the model is impossible: \(error.message)")
        }
    }

    /// Such a model, its weights all zero.
    func model() throws -> Model {
        let masked = try decoder.map {
            MaskedAutoencoder(try transformer("a decoder"), decoder: $0, maskRatio: maskRatio, normalizesTargets: normalizesTargets)
        }
        let model = try Model(encoder: encoder, objective: objective ?? masked, head: head, seed: nil)
        model.normalization = normalization
        model.classNames = classNames
        model.isPretrained = isPretrained
        model.notes = notes
        return model
    }
}
