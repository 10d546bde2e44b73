import MRPEngine
import MRPModels

/// Everything about a model but its weights.
struct ModelDescription {
    var encoder: VisionTransformer
    var decoder: MaskedDecoder?
    var head: ClassifierHead?
    var normalization: Normalization?
    var classNames: [String] = []
    var isPretrained = true
    var maskRatio = 0.75
    var normalizesTargets = false
    /// What had to be assumed, or is left out.
    var notes: [String] = []

    init(encoder: VisionTransformer) { self.encoder = encoder }

    /// The weights that such a model has.
    var specifications: [ParameterSpecification] {
        encoder.parameters() + (decoder?.parameters(for: encoder) ?? [])
            + (head?.parameters(width: encoder.transformer.width, onPretrained: isPretrained) ?? [])
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
        let model = try Model(encoder: encoder, decoder: decoder, head: head, seed: nil)
        model.normalization = normalization
        model.classNames = classNames
        model.isPretrained = isPretrained
        model.maskRatio = maskRatio
        model.normalizesTargets = normalizesTargets
        model.notes = notes
        return model
    }
}
