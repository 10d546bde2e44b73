import MRPEngine
import MRPModels
import MRPObjectives

/// Works out a model's description from the shapes of its weights, for files without a configuration that we know (timm, Meta's MAE,
/// torchvision). Families and objectives know their own.
struct ShapeReader {
    let file: WeightFile

    func description() throws -> ModelDescription {
        var notes: [String] = []
        var result = ModelDescription(encoder: try Encoders.infer(file, &notes))
        result.objective = try Objectives.infer(file, for: result.encoder, &notes)
        result.head = try MRPError.ofFile { try result.encoder.classifier(in: file.weights) }
        result.normalization = normalization(channels: result.encoder.geometry.channels)
        result.notes = notes
        return result
    }

    /// timm's mean and standard deviation of the images.
    private func normalization(channels: Int) -> Normalization? {
        let pretrained = file.pretrained
        guard let mean = pretrained["mean"]?.array?.compactMap(\.number), let std = pretrained["std"]?.array?.compactMap(\.number),
            mean.count == channels, std.count == channels, std.allSatisfy({ $0 > 0 })
        else { return nil }
        return Normalization(mean: mean, std: std)
    }
}
