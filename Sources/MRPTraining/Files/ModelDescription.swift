import MRPEngine
import MRPModels

/// Everything about a model but its weights.
struct ModelDescription {
    var encoder: any ImageEncoder
    /// The objective that the model was saved with; its encoder is the same.
    var objective: (any PretrainingObjective)?
    var head: (any Head)?
    var normalization: Normalization?
    var pixels: PixelRange?
    var classNames: [String] = []
    var labelType: String?
    var classPrior: ClassPrior?
    var isPretrained = true
    /// Assumptions, and parts that are left out.
    var notes: [String] = []

    init(encoder: any ImageEncoder) { self.encoder = encoder }

    /// The weights that such a model has; throws when the encoder cannot have that head.
    func specifications() throws -> [ParameterSpecification] {
        try encoder.parameters() + (objective?.parameters() ?? []) + (head?.parameters(on: encoder) ?? [])
    }

    /// Such a model, its weights all zero.
    func model() throws -> Model {
        let model = try Model(encoder: encoder, objective: objective, head: head, seed: nil)
        model.normalization = normalization
        model.pixels = pixels
        model.classNames = classNames
        model.labelType = labelType
        model.classPrior = classPrior
        model.isPretrained = isPretrained
        model.notes = notes
        return model
    }
}
