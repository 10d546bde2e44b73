import MRPEngine
import MRPOptions

extension VisionTransformer {
    /// A usual network.
    public struct Size: Equatable, Sendable {
        public let name: String
        public let width: Int
        public let depth: Int
        public let heads: Int

        init(_ name: String, _ width: Int, _ depth: Int, _ heads: Int) {
            (self.name, self.width, self.depth, self.heads) = (name, width, depth, heads)
        }

        /// "tiny 192 x 12 x 3"
        fileprivate var summary: String { "\(name.dropFirst("vit_".count)) \(width) x \(depth) x \(heads)" }
    }

    public static let sizes = [
        Size("vit_micro", 96, 4, 3), Size("vit_mini", 128, 6, 4), Size("vit_tiny", 192, 12, 3), Size("vit_small", 384, 12, 6),
        Size("vit_base", 768, 12, 12), Size("vit_large", 1024, 24, 16), Size("vit_huge", 1280, 32, 16),
    ]

    public static let family = EncoderFamily(
        "vision transformer", sizes: sizes.map(\.name),
        summary: "Vision transformers by width, depth and heads: \(sizes.map(\.summary).joined(separator: ", ")).",
        options: [
            NetworkOptions.patchSize, NetworkOptions.patchHeight, NetworkOptions.patchWidth, NetworkOptions.width, NetworkOptions.depth,
            NetworkOptions.heads, NetworkOptions.mlpRatio, NetworkOptions.layerNormEps,
        ] + MixtureOptions.network,
        modelTypes: ["vit", "vit_mae", mixtureType], names: names, describes: { $0["hidden_size"] != nil }, make: { try make($0, $1) },
        read: { try read($0) }, infer: { try infer($0, &$1) })

    public var family: EncoderFamily { Self.family }

    private static func make(_ name: String, _ options: Options) throws -> VisionTransformer {
        guard let size = sizes.first(where: { $0.name == name }) else {
            throw MRPError(.argument, "there is no vision transformer named '\(name)'")
        }
        let geometry = try PatchGeometry(
            channels: options[NetworkOptions.channels], height: options[NetworkOptions.imageHeight],
            width: options[NetworkOptions.imageWidth], patchHeight: options[NetworkOptions.patchHeight],
            patchWidth: options[NetworkOptions.patchWidth])
        let width = options[NetworkOptions.width] ?? size.width
        let transformer = try TransformerConfiguration(
            width: width, depth: options[NetworkOptions.depth] ?? size.depth, heads: options[NetworkOptions.heads] ?? size.heads,
            hidden: options.mlpWidth(width))
        let mixture = try options.mixture(depth: transformer.depth, usual: .token)
        guard mixture?.routing != .cluster else {
            throw MRPError(.argument, "moe_routing cluster needs a pretrained model, whose features tell the images apart: upcycle one")
        }
        return VisionTransformer(
            geometry: geometry, transformer: transformer, epsilon: options[NetworkOptions.layerNormEps], mixture: mixture)
    }

    private static let names = StoredNames(
        rows + MixtureNames.rows + rows.map { NameRow(MixtureNames.encoder + $0.name) },
        // The pooler of transformers' ViTModel takes part in no classifier.
        hubPrefix: "vit.", unused: ["pooler.dense.weight", "pooler.dense.bias"])

    private static let rows =
        [
            NameRow("cls_token", hub: "vit.embeddings.cls_token"), NameRow("pos_embed", hub: "vit.embeddings.position_embeddings"),
            NameRow("patch_embed.proj", hub: "vit.embeddings.patch_embeddings.projection"), NameRow("norm", hub: "vit.layernorm"),
            NameRow("fc_norm"), NameRow("head", hub: "classifier"),
        ]
        + transformerBlockNames(
            "blocks.*", hub: "vit.encoder.layer.*", transformers5: "vit.layers.*", transformers5Saved: "vit.encoder.layer.*")
}
