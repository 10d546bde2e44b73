import MRPModels

/// Named sizes of the plain vision transformer; those of convolutional networks are `convolutionalNames`.
enum Encoders {
    static let sizes: [(name: String, width: Int, depth: Int, heads: Int)] = [
        ("vit_micro", 96, 4, 3), ("vit_mini", 128, 6, 4), ("vit_tiny", 192, 12, 3), ("vit_small", 384, 12, 6), ("vit_base", 768, 12, 12),
        ("vit_large", 1024, 24, 16), ("vit_huge", 1280, 32, 16),
    ]
    static let names = sizes.map(\.name) + convolutionalNames
}

/// A named set of option values. Everything in it can be changed afterwards.
public struct Preset: Sendable {
    public let name: String
    public let summary: String
    public let values: [(key: String, value: String)]

    public static let all = [
        Preset(
            name: "mae_vit_micro_32",
            summary: "A 0.5 million weight ViT/8 for 32 x 32 colour images and a few hundred labels: what the examples use, for a minute.",
            values: [
                ("encoder", "vit_micro"), ("image_size", "32"), ("patch_size", "8"), ("decoder_width", "64"), ("decoder_depth", "1"),
                ("decoder_heads", "2"), ("pretrain.batch_size", "64"), ("pretrain.base_learning_rate", "4e-3"),
                ("finetune.batch_size", "32"), ("finetune.learning_rate", "2e-3"),
            ]),
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
}
