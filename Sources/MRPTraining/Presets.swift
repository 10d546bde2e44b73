import MRPOptions

/// The presets of training.
extension Preset {
    public static let all = named + others

    private static let named = [
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
                ("decoder_heads", "4"), ("pretrain.batch_size", smallBatch), ("finetune.batch_size", "128"),
            ]),
        Preset(
            name: "mae_vit_tiny_32", summary: "ViT-Tiny/4 for 32 x 32 colour images (CIFAR).",
            values: [
                ("encoder", "vit_tiny"), ("image_size", "32"), ("patch_size", "4"), ("decoder_width", "128"), ("decoder_depth", "4"),
                ("decoder_heads", "4"), ("pretrain.batch_size", smallBatch), ("finetune.batch_size", "128"),
            ]),
        small("vit_small", 32, patch: 4, epochs: 400), small("vit_tiny", 64, patch: 8, epochs: 400),
        small("vit_small", 64, patch: 8, epochs: 400), small("vit_tiny", 96, patch: 8, epochs: 400),
        small("vit_small", 96, patch: 8, epochs: 400), small("vit_tiny", 224, patch: 16, epochs: 200),
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
                ("head_deviation", "2e-5"),
            ]),
        official("vit_base", "ViT-B", patch: 16, epochs: 100, rate: "5e-4", layerDecay: "0.65", dropPath: "0.1"),
        official("vit_large", "ViT-L", patch: 16, epochs: 50, rate: "1e-3", layerDecay: "0.75", dropPath: "0.2"),
        official("vit_huge", "ViT-H", patch: 14, epochs: 50, rate: "1e-3", layerDecay: "0.75", dropPath: "0.3"),
        Preset(
            name: "mae_linear_probe_224",
            summary:
                "The linear probe of He et al. 2021 as fine-tuning with a frozen encoder: LARS, batches of 16384 as 256 x 64, 90 epochs, class token.",
            values: imageNet + [
                ("frozen_encoder", "true"), ("pooling", "cls"), ("head_deviation", "0.01"), ("finetune.optimizer", "lars"),
                ("finetune.base_learning_rate", "0.1"), ("finetune.weight_decay", "0"), ("finetune.epochs", "90"),
                ("finetune.warmup_epochs", "10"), ("finetune.batch_size", "256"), ("finetune.accumulation_steps", "64"),
                ("finetune.augmentation", "random_resized_crop_flip"), ("finetune.crop_scale_min", "0.08"), ("label_smoothing", "0"),
            ]),
    ]

    private static let imageNet: [(key: String, value: String)] = [
        ("image_size", "224"), ("mean", "0.485,0.456,0.406"), ("std", "0.229,0.224,0.225"),
    ]

    /// Fine-tuning's augmentation in He et al. 2021, table 9.
    private static let strong: [(key: String, value: String)] = [
        ("finetune.rand_augment", "m9-mstd0.5-inc1"), ("mixup", "0.8"), ("cutmix", "1"), ("finetune.random_erasing", "0.25"),
        ("label_smoothing", "0.1"),
    ]

    /// Pretraining and fine-tuning of He et al. 2021 (tables 8 and 9, and the commands of their repository); batches of 4096 and 1024 images
    /// are put together from 64.
    private static func official(
        _ encoder: String, _ name: String, patch: Int, epochs: Int, rate: String, layerDecay: String, dropPath: String
    ) -> Preset {
        Preset(
            name: "mae_\(encoder)_\(patch)_imagenet",
            summary: "\(name)/\(patch) on ImageNet-1k as He et al. 2021: 800 epochs of pretraining, \(epochs) of fine-tuning.",
            values: imageNet + [
                ("encoder", encoder), ("patch_size", String(patch)), ("decoder_width", "512"), ("decoder_depth", "8"),
                ("decoder_heads", "16"),
                ("mask_ratio", "0.75"), ("norm_pix_loss", "true"), ("batch_size", "64"), ("augmentation", "random_resized_crop_flip"),
                ("pretrain.accumulation_steps", "64"), ("pretrain.epochs", "800"), ("pretrain.warmup_epochs", "40"),
                ("pretrain.base_learning_rate", "1.5e-4"), ("pretrain.weight_decay", "0.05"), ("pretrain.beta2", "0.95"),
                ("pretrain.crop_scale_min", "0.2"), ("finetune.accumulation_steps", "16"), ("finetune.epochs", String(epochs)),
                ("finetune.warmup_epochs", "5"), ("finetune.base_learning_rate", rate), ("finetune.min_learning_rate", "1e-6"),
                ("finetune.weight_decay", "0.05"), ("finetune.beta2", "0.999"), ("finetune.layer_decay", layerDecay),
                ("finetune.drop_path", dropPath), ("finetune.crop_scale_min", "0.08"), ("pooling", "mean"), ("head_deviation", "2e-5"),
            ] + strong)
    }

    /// For sets of a thousand to a hundred thousand images: a light decoder, long pretraining at the rates of small networks, and fine-tuning
    /// with MAE's augmentation.
    private static func small(_ encoder: String, _ size: Int, patch: Int, epochs: Int) -> Preset {
        let isTiny = encoder == "vit_tiny"
        return Preset(
            name: "mae_\(encoder)_\(size)",
            summary: "\(isTiny ? "ViT-Ti" : "ViT-S")/\(patch) for \(size) x \(size) colour images, 1,000 to 100,000 of them.",
            values: [
                ("encoder", encoder), ("image_size", String(size)), ("patch_size", String(patch)),
                ("decoder_width", isTiny ? "128" : "192"), ("decoder_depth", "4"), ("decoder_heads", isTiny ? "4" : "6"),
                ("pretrain.batch_size", "256"), ("pretrain.epochs", String(epochs)), ("finetune.batch_size", "128"),
                ("finetune.epochs", "100"), ("finetune.drop_path", "0.1"), ("finetune.min_learning_rate", "1e-6"),
            ] + strong)
    }
}
