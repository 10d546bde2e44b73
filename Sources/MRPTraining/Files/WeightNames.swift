import MRPModels

/// The spellings under which others store the weights of a vision transformer. Each is a column of `NameTable.rows`. Residual networks
/// have torchvision's names in all of them, ConvNeXt timm's, and the decoder of SparK its own.
public enum WeightNames: String, CaseIterable, Sendable {
    /// Files on the Hugging Face hub, and transformers 4.
    case hub
    /// timm, and facebookresearch/mae; the names that this library uses itself.
    case timm
    /// `state_dict()` of transformers 5.
    case transformers5
    /// What `save_pretrained` of transformers 5.23 writes: hub names, but for the decoder's blocks.
    case transformers5Saved = "transformers5_saved"

    /// A stored tensor of a weight: its name, its shape, and where it begins in our tensor, in elements.
    struct Piece: Equatable {
        let name: String
        let shape: [Int]
        let offset: Int
    }

    /// The stored pieces of a weight, in order: most are stored whole, hub names split qkv into query, key and value.
    func pieces(of specification: ParameterSpecification) -> [Piece] {
        let names = NameTable.names(of: specification.name, in: self)
        guard names.count > 1 else { return [Piece(name: names[0], shape: specification.storedShape, offset: 0)] }
        let shape = [specification.storedShape[0] / names.count] + specification.storedShape.dropFirst()
        let count = shape.reduce(1, *)
        return names.enumerated().map { Piece(name: $1, shape: shape, offset: $0 * count) }
    }
}

/// Names of weights in all spellings. A row holds a weight's name without `.weight`, `.bias` and the like; `*` stands for a number; names
/// separated by `|` are equal parts of the rows. To add a network is to add its rows.
enum NameTable {
    struct Row {
        let timm: String
        let hub: String
        let transformers5: String
        let transformers5Saved: String

        func column(_ names: WeightNames) -> String {
            switch names {
            case .timm: timm
            case .hub: hub
            case .transformers5: transformers5
            case .transformers5Saved: transformers5Saved
            }
        }
    }

    private static func row(_ timm: String, _ hub: String, _ transformers5: String? = nil, saved: String? = nil) -> Row {
        Row(timm: timm, hub: hub, transformers5: transformers5 ?? hub, transformers5Saved: saved ?? hub)
    }

    private static let blockRows: [(timm: String, hub: String, transformers5: String)] = [
        ("norm1", "layernorm_before", "layernorm_before"),
        (
            "attn.qkv", "attention.attention.query|attention.attention.key|attention.attention.value",
            "attention.q_proj|attention.k_proj|attention.v_proj"
        ),
        ("attn.proj", "attention.output.dense", "attention.o_proj"),
        ("norm2", "layernorm_after", "layernorm_after"),
        ("mlp.fc1", "intermediate.dense", "mlp.fc1"),
        ("mlp.fc2", "output.dense", "mlp.fc2"),
    ]

    private static func blocks(_ timm: String, _ hub: String, _ transformers5: String, saved: String) -> [Row] {
        func join(_ prefix: String, _ names: String) -> String {
            names.split(separator: "|").map { prefix + "." + $0 }.joined(separator: "|")
        }
        return blockRows.map {
            Row(
                timm: join(timm, $0.timm), hub: join(hub, $0.hub), transformers5: join(transformers5, $0.transformers5),
                transformers5Saved: join(saved, $0.hub))
        }
    }

    static let rows: [Row] =
        [
            row("cls_token", "vit.embeddings.cls_token"), row("pos_embed", "vit.embeddings.position_embeddings"),
            row("patch_embed.proj", "vit.embeddings.patch_embeddings.projection"), row("norm", "vit.layernorm"),
            row("mask_token", "decoder.mask_token"), row("decoder_pos_embed", "decoder.decoder_pos_embed"),
            row("decoder_embed", "decoder.decoder_embed"), row("decoder_norm", "decoder.decoder_norm"),
            row("decoder_pred", "decoder.decoder_pred"), row("fc_norm", "fc_norm"), row("head", "classifier"),
        ] + blocks("blocks.*", "vit.encoder.layer.*", "vit.layers.*", saved: "vit.encoder.layer.*")
        + blocks(
            "decoder_blocks.*", "decoder.decoder_layers.*", "decoder.decoder_layers.*", saved: "decoder.decoder_encoder.layer.*")
        + (residualNames + convNeXtNames + sparkNames).map { row($0, $0) }

    /// Stem, four stages of blocks of two or three layers, and classifier.
    private static var residualNames: [String] {
        let inner = (1...3).flatMap { ["conv\($0)", "bn\($0)"] } + ["downsample.*"]
        return ["conv1", "bn1", "fc"] + (1...4).flatMap { stage in inner.map { "layer\(stage).*.\($0)" } }
    }

    private static let convNeXtNames =
        ["stem.*", "stages.*.downsample.*", "head.norm", "head.fc"]
        + ["conv_dw", "norm", "mlp.fc1", "mlp.grn", "mlp.fc2"].map { "stages.*.blocks.*." + $0 }

    private static let sparkNames = [
        "mask_tokens.*", "densify_norms.*", "densify_projs.*", "dense_decoder.dec.*.up_sample", "dense_decoder.dec.*.conv.*",
        "dense_decoder.proj",
    ]

    private static let byName = Dictionary(uniqueKeysWithValues: rows.map { ($0.timm, $0) })

    /// For each spelling, from a pattern to our pattern, the part and the number of parts.
    private static let byPattern: [WeightNames: [String: (ours: String, part: Int, parts: Int)]] = Dictionary(
        uniqueKeysWithValues: WeightNames.allCases.map { names in
            var result: [String: (String, Int, Int)] = [:]
            for row in rows {
                let parts = row.column(names).split(separator: "|")
                for (index, part) in parts.enumerated() { result[String(part)] = (row.timm, index, parts.count) }
            }
            return (names, result)
        })

    /// The stored names of a weight of ours. A weight that no row names keeps its name.
    static func names(of weight: String, in names: WeightNames) -> [String] {
        let (pattern, numbers, suffix) = split(weight)
        guard let row = byName[pattern] else { return [weight] }
        return row.column(names).split(separator: "|").map { fill($0, numbers) + suffix }
    }

    /// Our name for a stored name, which part of the weight it is, and of how many; nil when the spelling has no such name.
    static func weight(stored name: String, in names: WeightNames) -> (name: String, part: Int, parts: Int)? {
        let (pattern, numbers, suffix) = split(name)
        guard let found = byPattern[names]?[pattern] else { return nil }
        return (fill(found.ours[...], numbers) + suffix, found.part, found.parts)
    }

    private static let suffixes: Set<Substring> = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    /// `blocks.3.norm1.weight` -> (`blocks.*.norm1`, [`3`], `.weight`).
    private static func split(_ name: String) -> (pattern: String, numbers: [Substring], suffix: String) {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        var suffix = ""
        if let last = parts.last, suffixes.contains(last) {
            suffix = "." + last
            parts.removeLast()
        }
        var numbers: [Substring] = []
        for index in parts.indices where !parts[index].isEmpty && parts[index].utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
            numbers.append(parts[index])
            parts[index] = "*"
        }
        return (parts.joined(separator: "."), numbers, suffix)
    }

    private static func fill(_ pattern: Substring, _ numbers: [Substring]) -> String {
        var numbers = numbers[...]
        return pattern.split(separator: ".").map { $0 == "*" ? numbers.popFirst() ?? "*" : $0 }.joined(separator: ".")
    }
}
