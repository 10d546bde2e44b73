import MRPEngine
import MRPModels

/// Reads what a model is from its configuration: ours, or a `config.json` of transformers. Errors name the missing or impossible key.
struct ConfigurationReader {
    let json: JSON
    /// The tensors beside the configuration, when they are at hand: they tell whether a decoder and a classifier are there.
    let weights: NamedWeights?

    private func integer(_ key: String) throws -> Int {
        guard let value = json[key]?.integer else { throw MRPError(.format, "the configuration has no integer '\(key)'") }
        return value
    }

    private func pair(_ key: String) throws -> (Int, Int) {
        if let value = json[key]?.integer { return (value, value) }
        if let values = json[key]?.array, values.count == 2, let first = values[0].integer, let second = values[1].integer {
            return (first, second)
        }
        throw MRPError(.format, "the configuration has no size '\(key)'")
    }

    func description() throws -> ModelDescription {
        let ours = json["libmrp"] ?? .object([])
        if let found = ours["version"]?.integer, found > ModelConfiguration.version {
            throw MRPError(.version, "the file has format version \(found), this library reads up to \(ModelConfiguration.version)")
        }
        try checkKind()
        var result =
            isConvolutional ? ModelDescription(encoder: try ModelConfiguration.convolutionalNetwork(json)) : try transformer(ours)
        result.isPretrained = ours["is_pretrained"]?.bool ?? true
        result.maskRatio = json["mask_ratio"]?.number ?? 0.75
        result.normalizesTargets = json["norm_pix_loss"]?.bool ?? false
        if let objective = ours["objective"] { result.objective = try Objectives.read(objective, result.encoder) }
        try readHead(ours, into: &result)
        // A head that the encoder cannot have is an error here already.
        _ = try result.head.map { try result.encoder.headParameters($0) }
        try readNormalization(ours, channels: result.encoder.geometry.channels, into: &result)
        return result
    }

    private var isConvolutional: Bool { ModelConfiguration.convolutionalTypes.contains(json["model_type"]?.string ?? "") }

    /// A vision transformer, and its decoder where there is one.
    private func transformer(_ ours: JSON) throws -> ModelDescription {
        let ((height, width), (patchHeight, patchWidth)) = (try pair("image_size"), try pair("patch_size"))
        let geometry = try PatchGeometry(
            channels: integer("num_channels"), height: height, width: width, patchHeight: patchHeight, patchWidth: patchWidth)
        let transformer = try TransformerConfiguration(
            width: integer("hidden_size"), depth: integer("num_hidden_layers"), heads: integer("num_attention_heads"),
            hidden: integer("intermediate_size"))
        // A hand-written file may lack this one: then transformers' default holds.
        let epsilon = json["layer_norm_eps"]?.number ?? 1e-12
        guard epsilon >= 0, epsilon < 1 else { throw MRPError(.format, "layer_norm_eps \(epsilon) of the configuration is outside [0, 1)") }
        let positions = ours["positions"]?.string.flatMap(VisionTransformer.Positions.init) ?? weights?.positions(geometry) ?? .sinCos
        var result = ModelDescription(
            encoder: VisionTransformer(geometry: geometry, transformer: transformer, epsilon: epsilon, positions: positions))
        if json["decoder_hidden_size"] != nil {
            if weights?.has("decoder_") ?? true {
                result.decoder = MaskedDecoder(
                    try TransformerConfiguration(
                        width: integer("decoder_hidden_size"), depth: integer("decoder_num_hidden_layers"),
                        heads: integer("decoder_num_attention_heads"), hidden: integer("decoder_intermediate_size"), role: "decoder"))
            } else {
                result.notes.append("the configuration describes a decoder, the file has none: encoder only")
            }
        }
        return result
    }

    private func checkKind() throws {
        if let type = json["model_type"]?.string, !(["vit_mae", "vit"] + ModelConfiguration.convolutionalTypes).contains(type) {
            let known = (["vit", "vit_mae"] + ModelConfiguration.convolutionalTypes).joined(separator: ", ")
            throw MRPError(.unsupported, "model_type '\(type)' is not one of \(known)")
        }
        if let activation = json["hidden_act"]?.string, activation != "gelu" {
            throw MRPError(.unsupported, "hidden_act '\(activation)' is not offered: gelu is")
        }
    }

    private func readHead(_ ours: JSON, into result: inout ModelDescription) throws {
        let pooling =
            ours["pooling"]?.string.flatMap(Pooling.init) ?? (isConvolutional || weights?.shape("fc_norm.weight") != nil ? .mean : .cls)
        let classifier = ["resnet": "fc.weight", "convnextv2": "head.fc.weight"][json["model_type"]?.string ?? ""] ?? "head.weight"
        if let classes = ours["classes"]?.integer {
            result.head = try ClassifierHead(classes: classes, pooling: ours["pooling"] == nil ? .mean : pooling)
        } else if let classes = weights?.shape(classifier)?.first {
            result.head = try ClassifierHead(classes: classes, pooling: pooling)
        }
        guard let head = result.head else { return }
        if let names = ours["class_names"]?.array {
            result.classNames = names.compactMap(\.string)
        } else if let names = json["id2label"]?.members, names.count == head.classes {
            let byIndex = Dictionary(names.compactMap { name in Int(name.key).map { ($0, name.value.string ?? "") } }) { first, _ in first }
            result.classNames = (0..<head.classes).map { byIndex[$0] ?? "" }
        }
        // Names that transformers makes up.
        if result.classNames.enumerated().allSatisfy({ $1 == "LABEL_\($0)" || $1.isEmpty }) { result.classNames = [] }
    }

    /// Ours, or the `image_mean` and `image_std` of a `preprocessor_config.json`.
    private func readNormalization(_ ours: JSON, channels: Int, into result: inout ModelDescription) throws {
        let (means, deviations) = (ours["mean"] ?? json["image_mean"], ours["std"] ?? json["image_std"])
        guard let mean = means?.array?.compactMap(\.number), let deviation = deviations?.array?.compactMap(\.number) else { return }
        guard mean.count == channels, deviation.count == channels, deviation.allSatisfy({ $0 > 0 }) else {
            throw MRPError(.format, "mean and std of the configuration do not fit \(channels) channels")
        }
        result.normalization = Normalization(mean: mean, std: deviation)
    }
}

extension NamedWeights {
    /// Whether the stored positions are the fixed table; nil when they cannot be read.
    func positions(_ geometry: PatchGeometry) -> VisionTransformer.Positions? {
        guard let part = weights["pos_embed"]?.first, part.tensor.entry.shape.count == 3,
            part.tensor.entry.shape[1] == 1 + geometry.count, part.tensor.entry.shape[2] % 4 == 0,
            let values = try? Tensor(part.tensor.entry.shape), (try? part.tensor.read(into: values.float32)) != nil
        else { return nil }
        let table = sinCosPositions(
            width: part.tensor.entry.shape[2], gridHeight: geometry.gridHeight, gridWidth: geometry.gridWidth)
        return zip(values.float32, table).allSatisfy { abs($0 - $1) < 1e-4 } ? .sinCos : .learned
    }
}
