import MRPOptions

/// Presets of the objectives beside mae for 32 x 32 colour images, on the two small networks. Their batches, rates, masks, students and teachers
/// are what searches on CIFAR-10's training images found on a smaller network (docs/objectives.md, "Small data").
extension Preset {
    static let others: [Preset] = [
        ("simmim", "SimMIM", skipping(depth: 2) + [("mask_ratio", "0.75")]),
        ("maskfeat", "MaskFeat", skipping(depth: 2) + [("pretrain.base_learning_rate", "4e-3")]),
        ("beit", "BEiT with its own tokens", [("pretrain.base_learning_rate", "4e-3")]),
        ("data2vec", "data2vec", taught + skipping(depth: 3) + [("mask_ratio", "0.75")]),
        ("ijepa", "I-JEPA", taught + decoder(depth: 3)),
        ("teacher_student", "The teacher-student objective", taught + [("mask_pattern", "block")]),
    ].flatMap { (objective: String, title: String, values: [(String, String)]) in
        ["mini", "tiny"].map { size in
            Preset(
                name: "\(objective)_vit_\(size)_32",
                summary: "\(title) on ViT-\(size == "mini" ? "Mini" : "Tiny")/4 for 32 x 32 colour images.",
                values: [
                    ("encoder", "vit_\(size)"), ("image_size", "32"), ("patch_size", "4"), ("objective", objective),
                    ("pretrain.batch_size", smallBatch), ("finetune.batch_size", "128"),
                ] + values)
        }
    }

    /// Many small steps: with the same images and time, batches of 256 learned far less.
    static let smallBatch = "64"

    /// The encoder sees the visible patches only, and a small decoder predicts.
    private static func skipping(depth: Int) -> [(String, String)] {
        [("hidden_cells", "skip")] + decoder(depth: depth)
    }

    private static func decoder(depth: Int) -> [(String, String)] {
        [("decoder_width", "96"), ("decoder_depth", "\(depth)"), ("decoder_heads", "4")]
    }

    /// The teacher moves less and less and stands still in the end.
    private static let taught = [("target_norm", "instance"), ("teacher_decay", "0.996"), ("teacher_decay_end", "1")]
}
