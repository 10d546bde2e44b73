import MRPEngine
import MRPModels
import MRPObjectives

/// The JSON that brings a model back: the keys of a Hugging Face `config.json`, and what only we know under `libmrp`.
enum ModelConfiguration {
    static let version = 1

    static func json(_ model: Model) -> JSON {
        var members = (model.encoder as? any ConvolutionalEncoder).map { Self.members($0) } ?? []
        if let encoder = model.encoder as? VisionTransformer { members = self.members(encoder, model) }
        if let head = model.head {
            let names = (0..<head.classes).map { $0 < model.classNames.count ? model.classNames[$0] : "LABEL_\($0)" }
            members.append(("id2label", .object(names.enumerated().map { ("\($0)", .string($1)) })))
            if Set(names).count == names.count {
                members.append(("label2id", .object(names.enumerated().map { ($1, .integer($0)) })))
            }
        }
        members.append(("libmrp", ours(model)))
        return .object(members)
    }

    private static func members(_ encoder: VisionTransformer, _ model: Model) -> [(key: String, value: JSON)] {
        let (geometry, transformer) = (encoder.geometry, encoder.transformer)
        let objective = model.objective as? MaskedAutoencoder
        // transformers' classifier reads the class token: it has no other pooling.
        let architecture = objective != nil ? "ViTMAEForPreTraining" : model.head?.pooling == .cls ? "ViTForImageClassification" : nil
        let isPlain = model.head != nil || encoder.positions == .learned && objective == nil
        var members: [(key: String, value: JSON)] = [("model_type", .string(isPlain ? "vit" : "vit_mae"))]
        if let architecture { members.append(("architectures", .array([.string(architecture)]))) }
        members += [
            ("hidden_size", .integer(transformer.width)), ("num_hidden_layers", .integer(transformer.depth)),
            ("num_attention_heads", .integer(transformer.heads)), ("intermediate_size", .integer(transformer.hidden)),
            ("hidden_act", .string("gelu")), ("layer_norm_eps", .number(encoder.epsilon)),
            ("image_size", pair(geometry.height, geometry.width)), ("patch_size", pair(geometry.patchHeight, geometry.patchWidth)),
            ("num_channels", .integer(geometry.channels)), ("qkv_bias", .bool(true)),
            ("mask_ratio", .number(objective?.masks.ratio ?? MaskedAutoencoder.usualMaskRatio)),
            ("norm_pix_loss", .bool(objective?.normalizesTargets ?? true)),
        ]
        if let decoder = objective?.decoder.transformer {
            members += [
                ("decoder_hidden_size", .integer(decoder.width)), ("decoder_num_hidden_layers", .integer(decoder.depth)),
                ("decoder_num_attention_heads", .integer(decoder.heads)), ("decoder_intermediate_size", .integer(decoder.hidden)),
            ]
        }
        return members
    }

    private static func ours(_ model: Model) -> JSON {
        var members: [(key: String, value: JSON)] = [
            ("version", .integer(version)), ("is_pretrained", .bool(model.isPretrained)),
        ]
        if let encoder = model.encoder as? VisionTransformer { members.append(("positions", .string(encoder.positions.rawValue))) }
        if let objective = model.objective.flatMap(Objectives.json) { members.append(("objective", objective)) }
        if let normalization = model.normalization {
            members.append(("mean", .array(normalization.mean.map { .number($0) })))
            members.append(("std", .array(normalization.std.map { .number($0) })))
        }
        if let head = model.head {
            members.append(("classes", .integer(head.classes)))
            members.append(("pooling", .string(head.pooling.rawValue)))
            members.append(("class_names", .array(model.classNames.map { .string($0) })))
        }
        return .object(members)
    }

    private static func pair(_ height: Int, _ width: Int) -> JSON {
        height == width ? .integer(height) : .array([.integer(height), .integer(width)])
    }

    /// What a configuration of ours, or of transformers, describes.
    static func description(_ json: JSON, weights: NamedWeights? = nil) throws -> ModelDescription {
        try ConfigurationReader(json: json, weights: weights).description()
    }
}
