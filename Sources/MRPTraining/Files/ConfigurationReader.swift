import MRPEngine
import MRPModels
import MRPObjectives

/// Reads a model's description from its configuration: ours, or a `config.json` of transformers. Errors name the missing or impossible key.
struct ConfigurationReader {
    let json: JSON
    /// The tensors beside the configuration, when they are at hand: they tell whether a decoder and a classifier are there.
    let weights: NamedWeights?

    func description() throws -> ModelDescription {
        let ours = json["libmrp"] ?? .object([])
        if let found = ours["version"]?.integer, found > ModelConfiguration.version {
            throw MRPError(.version, "the file has format version \(found), this library reads up to \(ModelConfiguration.version)")
        }
        var result = ModelDescription(
            encoder: try Encoders.read(EncoderFile(configuration: json, settings: ours, weights: weights)))
        result.isPretrained = ours["is_pretrained"]?.bool ?? true
        result.objective = try Objectives.read(
            ObjectiveFile(configuration: json, settings: ours["objective"], encoder: result.encoder, weights: weights), &result.notes)
        result.head = try head(ours, result.encoder)
        if let head = result.head {
            // A head that the encoder cannot have is an error here already.
            _ = try head.parameters(on: result.encoder)
            result.classNames = classNames(ours, head)
            result.labelType = ours["label_type"]?.string
            result.classPrior = try ClassPrior(ours, classes: head.classes)
        }
        result.pixels = PixelRange(ours["pixels"])
        result.normalization = try normalization(ours, channels: result.encoder.geometry.channels)
        return result
    }

    private func head(_ ours: JSON, _ encoder: any ImageEncoder) throws -> (any Head)? {
        if let task = ours["task"]?.string ?? (ours["classes"]?.integer == nil ? nil : ClassifierHead.name) {
            return try Heads.registry.entry(task).read(HeadFile(settings: ours, encoder: encoder))
        }
        return try weights.flatMap { try encoder.classifier(in: $0) }
    }

    /// Ours, or transformers' names of the classes by their numbers.
    private func classNames(_ ours: JSON, _ head: any Head) -> [String] {
        var result: [String] = []
        if let names = ours["class_names"]?.array {
            result = names.compactMap(\.string)
        } else if let names = json["id2label"]?.members, names.count == head.classes {
            let byIndex = Dictionary(names.compactMap { name in Int(name.key).map { ($0, name.value.string ?? "") } }) { first, _ in first }
            result = (0..<head.classes).map { byIndex[$0] ?? "" }
        }
        // Names that transformers makes up.
        return result.enumerated().allSatisfy { $1 == "LABEL_\($0)" || $1.isEmpty } ? [] : result
    }

    /// Ours, or the `image_mean` and `image_std` of a `preprocessor_config.json`.
    private func normalization(_ ours: JSON, channels: Int) throws -> Normalization? {
        let (means, stds) = (ours["mean"] ?? json["image_mean"], ours["std"] ?? json["image_std"])
        guard let mean = means?.array?.compactMap(\.number), let std = stds?.array?.compactMap(\.number) else { return nil }
        guard mean.count == channels, std.count == channels, std.allSatisfy({ $0 > 0 }) else {
            throw MRPError(.format, "mean and std of the configuration do not fit \(channels) channels")
        }
        return Normalization(mean: mean, std: std)
    }
}
