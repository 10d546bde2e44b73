import MRPModels

/// The names under which the Hugging Face hub stores ViTMAE and ViT weights, for each weight of ours.
enum HubNames {
    struct Piece: Equatable {
        let name: String
        let shape: [Int]
        /// Where the piece begins in our tensor, in elements.
        let offset: Int
    }

    /// The stored pieces of a weight; the fused qkv is stored as query, key and value.
    static func pieces(of specification: ParameterSpecification) -> [Piece] {
        let (base, suffix) = split(specification.name)
        if base.hasSuffix(".attn.qkv") {
            let prefix = block(String(base.dropLast(".attn.qkv".count))) + ".attention.attention."
            let count = specification.shape.reduce(1, *) / 3
            let shape = [specification.shape[0] / 3] + specification.shape.dropFirst()
            return ["query", "key", "value"].enumerated().map {
                Piece(name: prefix + $1 + suffix, shape: shape, offset: $0 * count)
            }
        }
        return [Piece(name: name(base) + suffix, shape: specification.storedShape, offset: 0)]
    }

    private static func split(_ name: String) -> (base: String, suffix: String) {
        for suffix in [".weight", ".bias"] where name.hasSuffix(suffix) { return (String(name.dropLast(suffix.count)), suffix) }
        return (name, "")
    }

    private static let whole = [
        "cls_token": "vit.embeddings.cls_token", "pos_embed": "vit.embeddings.position_embeddings",
        "patch_embed.proj": "vit.embeddings.patch_embeddings.projection", "norm": "vit.layernorm",
        "mask_token": "decoder.mask_token", "decoder_pos_embed": "decoder.decoder_pos_embed",
        "decoder_embed": "decoder.decoder_embed", "decoder_norm": "decoder.decoder_norm", "decoder_pred": "decoder.decoder_pred",
        "head": "classifier",
    ]

    private static let inBlock = [
        "norm1": "layernorm_before", "attn.proj": "attention.output.dense", "norm2": "layernorm_after",
        "mlp.fc1": "intermediate.dense", "mlp.fc2": "output.dense",
    ]

    private static func name(_ base: String) -> String {
        if let name = whole[base] { return name }
        for (ours, theirs) in inBlock where base.hasSuffix("." + ours) {
            return block(String(base.dropLast(ours.count + 1))) + "." + theirs
        }
        return base
    }

    /// `blocks.3` -> `vit.encoder.layer.3`, `decoder_blocks.3` -> `decoder.decoder_layers.3`.
    private static func block(_ name: String) -> String {
        let number = name.split(separator: ".").last.map(String.init) ?? ""
        return (name.hasPrefix("decoder_blocks.") ? "decoder.decoder_layers." : "vit.encoder.layer.") + number
    }
}
