import MRPEngine
import MRPModels
import MRPOptions

/// In files it is described as transformers does, in the keys of `ViTMAEConfig`.
extension MaskedAutoencoder {
    public var configuration: [(key: String, value: JSON)] {
        [
            ("architectures", .array([.string("ViTMAEForPreTraining")])), ("mask_ratio", .number(masks.ratio)),
            ("norm_pix_loss", .bool(normalizesTargets)), ("decoder_hidden_size", .integer(decoder.transformer.width)),
            ("decoder_num_hidden_layers", .integer(decoder.transformer.depth)),
            ("decoder_num_attention_heads", .integer(decoder.transformer.heads)),
            ("decoder_intermediate_size", .integer(decoder.transformer.hidden)),
        ]
    }

    static let names =
        [
            NameRow("mask_token", hub: "decoder.mask_token"), NameRow("decoder_pos_embed", hub: "decoder.decoder_pos_embed"),
            NameRow("decoder_embed", hub: "decoder.decoder_embed"), NameRow("decoder_norm", hub: "decoder.decoder_norm"),
            NameRow("decoder_pred", hub: "decoder.decoder_pred"),
        ]
        + transformerBlockNames(
            "decoder_blocks.*", hub: "decoder.decoder_layers.*", transformers5: "decoder.decoder_layers.*",
            transformers5Saved: "decoder.decoder_encoder.layer.*")

    /// A masked autoencoder of a configuration that describes a decoder, where the file has its tensors.
    static func read(_ file: ObjectiveFile, _ notes: inout [String]) throws -> MaskedAutoencoder? {
        let json = file.configuration
        guard json["decoder_hidden_size"] != nil, let encoder = file.encoder.tokenEncoder else { return nil }
        guard file.weights?.has("decoder_") ?? true else {
            notes.append("the configuration describes a decoder, the file has none: encoder only")
            return nil
        }
        let decoder = try TransformerConfiguration(
            width: json.integer(of: "decoder_hidden_size"), depth: json.integer(of: "decoder_num_hidden_layers"),
            heads: json.integer(of: "decoder_num_attention_heads"), hidden: json.integer(of: "decoder_intermediate_size"), role: "decoder")
        let masks = MaskChoice(.random, ratio: json["mask_ratio"]?.number ?? usualMasks.ratio)
        return MaskedAutoencoder(
            encoder, decoder: MaskedDecoder(decoder), masks: masks, normalizesTargets: json["norm_pix_loss"]?.bool ?? false)
    }

    /// A masked autoencoder of timm's names, such as Meta's, whose file has no configuration.
    static func infer(_ file: WeightFile, _ encoder: any ImageEncoder, _ notes: inout [String]) throws -> MaskedAutoencoder? {
        guard file.weights.has("decoder_"), let encoder = encoder.tokenEncoder else { return nil }
        let width = try file.shape("decoder_embed.weight", 2)[0]
        var heads = file.options.given(NetworkOptions.decoderHeads)
        if heads == nil, width == 512 {
            heads = 16
            notes.append("16 attention heads of the decoder are assumed from its width 512: the file does not say how many")
        }
        guard let heads else {
            throw MRPError(
                .argument, "the file does not say how many attention heads a decoder of width \(width) has: set option decoder_heads")
        }
        let decoder = try MRPError.ofFile {
            try TransformerConfiguration(
                width: width, depth: file.weights.depth(of: "decoder_blocks"), heads: heads,
                hidden: file.shape("decoder_blocks.0.mlp.fc1.weight", 2)[0], role: "decoder")
        }
        return MaskedAutoencoder(encoder, decoder: MaskedDecoder(decoder), normalizesTargets: false)
    }

    public func adapted(
        to encoder: any ImageEncoder, from former: PatchGeometry, _ notes: inout [String]
    ) throws -> (any PretrainingObjective)? {
        let new = encoder.geometry
        guard let encoder = encoder.tokenEncoder, new.patchValues == former.patchValues, new.patchHeight == former.patchHeight else {
            notes.append("the decoder is left out: it predicts patches of another size")
            return nil
        }
        return MaskedAutoencoder(encoder, decoder: decoder, masks: masks, normalizesTargets: normalizesTargets)
    }
}
