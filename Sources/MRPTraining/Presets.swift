import MRPModels

/// Named sizes of the plain vision transformer; those of residual networks are `ResidualNetwork.sizes`.
enum Encoders {
    static let sizes: [(name: String, width: Int, depth: Int, heads: Int)] = [
        ("vit_mini", 128, 6, 4), ("vit_tiny", 192, 12, 3), ("vit_small", 384, 12, 6), ("vit_base", 768, 12, 12),
        ("vit_large", 1024, 24, 16), ("vit_huge", 1280, 32, 16),
    ]
    static let residualNames = ResidualNetwork.sizes.map(\.name)
    static let names = sizes.map(\.name) + residualNames
}

/// A named set of option values. Everything in it can be changed afterwards.
public struct Preset: Sendable {
    public let name: String
    public let summary: String
    public let values: [(key: String, value: String)]

    public static let all = mae + others

    private static let mae = [
        Preset(
            name: "mae_vit_mini_32", summary: "A 1.2 million weight ViT for 32 x 32 colour images, for minutes on a laptop.",
            values: [
                ("encoder", "vit_mini"), ("image_size", "32"), ("patch_size", "4"), ("decoder_width", "96"), ("decoder_depth", "2"),
                ("decoder_heads", "4"), ("pretrain.batch_size", "256"), ("finetune.batch_size", "128"),
            ]),
        Preset(
            name: "mae_vit_tiny_32", summary: "ViT-Tiny/4 for 32 x 32 colour images (CIFAR).",
            values: [
                ("encoder", "vit_tiny"), ("image_size", "32"), ("patch_size", "4"), ("decoder_width", "128"), ("decoder_depth", "4"),
                ("decoder_heads", "4"), ("pretrain.batch_size", "256"), ("finetune.batch_size", "128"),
            ]),
        Preset(
            name: "mae_vit_small_224", summary: "ViT-S/16 for 224 x 224 colour images.",
            values: [
                ("encoder", "vit_small"), ("image_size", "224"), ("patch_size", "16"), ("decoder_width", "512"),
                ("decoder_depth", "8"), ("decoder_heads", "16"),
            ]),
        Preset(
            name: "mae_vit_base_224",
            summary: "ViT-B/16 for 224 x 224 colour images with the learning rates of He et al. 2021.",
            values: [
                ("encoder", "vit_base"), ("image_size", "224"), ("patch_size", "16"), ("decoder_width", "512"),
                ("decoder_depth", "8"), ("decoder_heads", "16"), ("pretrain.base_learning_rate", "1.5e-4"),
                ("finetune.base_learning_rate", "5e-4"), ("finetune.layer_decay", "0.65"), ("finetune.min_learning_rate", "1e-6"),
            ]),
    ]

    /// The other objectives for 32 x 32 colour images, on the two small networks.
    private static let others: [Preset] = [
        ("simmim", "SimMIM", []), ("maskfeat", "MaskFeat", []), ("beit", "BEiT with its own tokens", []),
        ("data2vec", "data2vec", [("teacher_decay", "0.99"), ("teacher_decay_end", "0.999")]),
        ("ijepa", "I-JEPA", [("decoder_width", "96"), ("decoder_depth", "3"), ("decoder_heads", "4")]),
        ("teacher_student", "The teacher-student objective", [("teacher_decay", "0.99"), ("teacher_decay_end", "0.999")]),
    ].flatMap { (objective: String, title: String, values: [(String, String)]) in
        ["mini", "tiny"].map { size in
            Preset(
                name: "\(objective)_vit_\(size)_32",
                summary: "\(title) on ViT-\(size == "mini" ? "Mini" : "Tiny")/4 for 32 x 32 colour images.",
                values: [
                    ("encoder", "vit_\(size)"), ("image_size", "32"), ("patch_size", "4"), ("objective", objective),
                    ("pretrain.batch_size", "256"), ("finetune.batch_size", "128"),
                ] + values)
        }
    }
}
