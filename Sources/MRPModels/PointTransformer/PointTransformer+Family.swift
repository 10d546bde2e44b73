import MRPEngine
import MRPOptions

extension PointTransformer {
    struct Size {
        let name: String
        let (width, depth, heads): (Int, Int, Int)
        let (groups, size): (Int, Int)
        let embedding: [Int]
    }

    static let sizes = [
        Size(name: "point_micro", width: 64, depth: 3, heads: 4, groups: 16, size: 16, embedding: [32, 64, 64]),
        Size(name: "point_mini", width: 128, depth: 6, heads: 4, groups: 32, size: 24, embedding: [64, 128, 128]),
        Size(name: "point_small", width: 384, depth: 12, heads: 6, groups: 64, size: 32, embedding: [128, 256, 512]),
    ]

    static let modelType = "point_transformer"

    public static let family = EncoderFamily(
        "point transformer", sizes: sizes.map(\.name),
        summary: "Transformers of point clouds (Point-MAE's) by width, depth, heads and groups: "
            + sizes.map {
                "\($0.name.dropFirst("point_".count)) \($0.width) x \($0.depth) x \($0.heads), \($0.groups) groups of \($0.size)"
            }.joined(separator: "; ") + ".",
        options: [
            PointOptions.groups, PointOptions.groupSize, PointOptions.qkvBias, NetworkOptions.width, NetworkOptions.depth,
            NetworkOptions.heads, NetworkOptions.mlpRatio,
        ],
        modelTypes: [modelType], names: names, make: { try make($0, $1) }, read: { try read($0) })

    public var family: EncoderFamily { Self.family }

    private static var names: StoredNames {
        let block = ["norm1", "attn.qkv", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2"].map { "blocks.blocks.*." + $0 }
        return StoredNames(
            (["encoder.first_conv.*", "encoder.second_conv.*", "pos_embed.*"] + block + ["norm", "head"]).map { NameRow($0) })
    }

    private static func make(_ name: String, _ options: Options) throws -> PointTransformer {
        guard let size = sizes.first(where: { $0.name == name }) else {
            throw MRPError(.argument, "there is no point transformer named '\(name)'")
        }
        let width = options[NetworkOptions.width] ?? size.width
        return try PointTransformer(
            groups: PointGroups(
                count: options[PointOptions.groups] ?? size.groups, size: options[PointOptions.groupSize] ?? size.size),
            channels: options[NetworkOptions.channels],
            transformer: TransformerConfiguration(
                width: width, depth: options[NetworkOptions.depth] ?? size.depth, heads: options[NetworkOptions.heads] ?? size.heads,
                hidden: options.mlpWidth(width)),
            embedding: GroupEmbedding(widths: size.embedding), hasQueryBias: options[PointOptions.qkvBias])
    }

    public func configuration(head: (any Head)?, objective: (any PretrainingObjective)?) -> [(key: String, value: JSON)] {
        [
            ("model_type", .string(Self.modelType)), ("hidden_size", .integer(transformer.width)),
            ("num_hidden_layers", .integer(transformer.depth)), ("num_attention_heads", .integer(transformer.heads)),
            ("intermediate_size", .integer(transformer.hidden)), ("num_groups", .integer(groups.count)),
            ("group_size", .integer(groups.size)), ("num_channels", .integer(geometry.channels)),
            ("embedding_sizes", .array(embedding.widths.map { .integer($0) })), ("qkv_bias", .bool(hasQueryBias)),
        ]
    }

    private static func read(_ file: EncoderFile) throws -> PointTransformer {
        let json = file.configuration
        guard let embedding = json["embedding_sizes"]?.array?.compactMap(\.integer) else {
            throw MRPError(.format, "the configuration of a point transformer needs embedding_sizes")
        }
        return try MRPError.ofFile {
            try PointTransformer(
                groups: PointGroups(count: json.integer(of: "num_groups"), size: json.integer(of: "group_size")),
                channels: json.integer(of: "num_channels"),
                transformer: TransformerConfiguration(
                    width: json.integer(of: "hidden_size"), depth: json.integer(of: "num_hidden_layers"),
                    heads: json.integer(of: "num_attention_heads"), hidden: json.integer(of: "intermediate_size")),
                embedding: GroupEmbedding(widths: embedding), hasQueryBias: json["qkv_bias"]?.bool ?? false)
        }
    }

    /// Itself: groups and channels are the file's.
    public func adapted(_ options: Options, _ notes: inout [String]) throws -> any ImageEncoder {
        let wanted = [
            options.given(PointOptions.groups) ?? groups.count, options.given(PointOptions.groupSize) ?? groups.size,
            options.given(NetworkOptions.channels) ?? geometry.channels,
        ]
        guard wanted[2] == geometry.channels else {
            throw MRPError(
                .unsupported, "the file's point transformer takes points of \(geometry.channels) values, the options want \(wanted[2])")
        }
        // Weights do not depend on the groups: positions are a function of the centres.
        return try PointTransformer(
            groups: PointGroups(count: wanted[0], size: wanted[1]), channels: wanted[2], transformer: transformer, embedding: embedding,
            hasQueryBias: hasQueryBias)
    }
}
