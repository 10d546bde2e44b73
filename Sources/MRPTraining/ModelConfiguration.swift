import MRPEngine
import MRPModels

/// The JSON that brings a model back: the keys of a Hugging Face ViTMAE `config.json`, and what only we know under `libmrp`.
enum ModelConfiguration {
    static let version = 1

    static func json(_ model: Model) -> JSON {
        var members = (model.encoder as? ResidualNetwork).map(members) ?? []
        if let encoder = model.encoder as? VisionTransformer { members = self.members(encoder, model) }
        if let decoder = model.decoder?.transformer {
            members += [
                ("decoder_hidden_size", .integer(decoder.width)), ("decoder_num_hidden_layers", .integer(decoder.depth)),
                ("decoder_num_attention_heads", .integer(decoder.heads)), ("decoder_intermediate_size", .integer(decoder.hidden)),
            ]
        }
        var ours: [(key: String, value: JSON)] = [("version", .integer(version)), ("is_pretrained", .bool(model.isPretrained))]
        if let normalization = model.normalization {
            ours.append(("mean", .array(normalization.mean.map { .number($0) })))
            ours.append(("std", .array(normalization.deviation.map { .number($0) })))
        }
        if let head = model.head {
            ours.append(("classes", .integer(head.classes)))
            ours.append(("pooling", .string(head.pooling.rawValue)))
            ours.append(("class_names", .array(model.classNames.map { .string($0) })))
        }
        members.append(("libmrp", .object(ours)))
        return .object(members)
    }

    private static func members(_ encoder: VisionTransformer, _ model: Model) -> [(key: String, value: JSON)] {
        let (geometry, transformer) = (encoder.geometry, encoder.transformer)
        return [
            ("model_type", .string(model.head == nil ? "vit_mae" : "vit")),
            ("hidden_size", .integer(transformer.width)), ("num_hidden_layers", .integer(transformer.depth)),
            ("num_attention_heads", .integer(transformer.heads)), ("intermediate_size", .integer(transformer.hidden)),
            ("hidden_act", .string("gelu")), ("layer_norm_eps", .number(encoder.epsilon)),
            ("image_size", pair(geometry.height, geometry.width)), ("patch_size", pair(geometry.patchHeight, geometry.patchWidth)),
            ("num_channels", .integer(geometry.channels)), ("qkv_bias", .bool(true)), ("mask_ratio", .number(model.maskRatio)),
            ("norm_pix_loss", .bool(model.normalizesTargets)),
        ]
    }

    private static func pair(_ height: Int, _ width: Int) -> JSON {
        height == width ? .integer(height) : .array([.integer(height), .integer(width)])
    }

    /// A model with fresh weights as the JSON describes it. Errors name the missing or impossible key.
    static func model(_ json: JSON) throws -> Model {
        func integer(_ key: String) throws -> Int {
            guard let value = json[key]?.integer else { throw MRPError(.format, "the configuration has no integer '\(key)'") }
            return value
        }
        func pair(_ key: String) throws -> (Int, Int) {
            if let value = json[key]?.integer { return (value, value) }
            if let values = json[key]?.array, values.count == 2, let first = values[0].integer, let second = values[1].integer {
                return (first, second)
            }
            throw MRPError(.format, "the configuration has no size '\(key)'")
        }
        let ours = json["libmrp"] ?? .object([])
        if let found = ours["version"]?.integer, found > version {
            throw MRPError(.version, "the file has format version \(found), this library reads up to \(version)")
        }
        if json["model_type"]?.string == residualType {
            let model = try Model(encoder: residualNetwork(json), head: head(ours), seed: 0)
            try restore(model, json, ours)
            return model
        }
        let ((height, width), (patchHeight, patchWidth)) = (try pair("image_size"), try pair("patch_size"))
        let geometry = try PatchGeometry(
            channels: integer("num_channels"), height: height, width: width, patchHeight: patchHeight, patchWidth: patchWidth)
        let transformer = try TransformerConfiguration(
            width: integer("hidden_size"), depth: integer("num_hidden_layers"), heads: integer("num_attention_heads"),
            hidden: integer("intermediate_size"))
        // Hugging Face leaves keys with default values out of nothing, but hand-written files may lack this one: its default there.
        let epsilon = json["layer_norm_eps"]?.number ?? 1e-12
        var decoder: MaskedDecoder?
        if json["decoder_hidden_size"] != nil {
            decoder = MaskedDecoder(
                try TransformerConfiguration(
                    width: integer("decoder_hidden_size"), depth: integer("decoder_num_hidden_layers"),
                    heads: integer("decoder_num_attention_heads"), hidden: integer("decoder_intermediate_size"), role: "decoder"))
        }
        let model = try Model(
            encoder: VisionTransformer(geometry: geometry, transformer: transformer, epsilon: epsilon), decoder: decoder,
            head: head(ours), seed: 0)
        try restore(model, json, ours)
        return model
    }

    private static func head(_ ours: JSON) throws -> ClassifierHead? {
        try ours["classes"]?.integer.map {
            try ClassifierHead(classes: $0, pooling: Pooling(rawValue: ours["pooling"]?.string ?? "") ?? .mean)
        }
    }

    /// What a model knows beside its networks.
    private static func restore(_ model: Model, _ json: JSON, _ ours: JSON) throws {
        let geometry = model.encoder.geometry
        model.isPretrained = ours["is_pretrained"]?.bool ?? true
        model.classNames = ours["class_names"]?.array?.compactMap(\.string) ?? []
        if let mean = ours["mean"]?.array?.compactMap(\.number), let deviation = ours["std"]?.array?.compactMap(\.number) {
            guard mean.count == geometry.channels, deviation.count == geometry.channels, deviation.allSatisfy({ $0 > 0 }) else {
                throw MRPError(.format, "mean and std of the configuration do not fit \(geometry.channels) channels")
            }
            model.normalization = Normalization(mean: mean, deviation: deviation)
        }
        model.maskRatio = json["mask_ratio"]?.number ?? 0.75
        model.normalizesTargets = json["norm_pix_loss"]?.bool ?? false
    }
}
