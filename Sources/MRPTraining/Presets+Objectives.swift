/// Presets of the objectives beside mae for 32 x 32 colour images, on the two small networks.
extension Preset {
    static let others: [Preset] = [
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
