import MRPModels
import MRPOptions

/// Options of pretraining objectives and heads. Where names or defaults come from descriptors, so does the text.
public enum ObjectiveOptions {
    public static var objective: Option<String?> {
        let list = Objectives.registry.all.map { entry in
            "\(entry.name) (\(entry.source)\(entry.remark.isEmpty ? "" : "; \(entry.remark)"))"
        }
        return Option(
            "objective", .name(among: Objectives.registry.names),
            auto: "mae, spark where the encoder is convolutional, point_mae where it takes point clouds",
            section: .objective, "Objective of pretraining (docs/objectives.md): \(list.joined(separator: ", ")).")
    }
    public static var maskRatio: Option<Double?> {
        let usual = Objectives.summary { $0.usualMasks.map { NumberText.short($0.ratio) } }
        let convolutional = NumberText.short(SparseMaskedModeling.usualMasks.ratio)
        return Option(
            "mask_ratio", .number(0..<1),
            auto: "\(usual), in convolutional networks always \(convolutional); in reconstruction the model's own", section: .objective,
            "Share of the patches that is hidden: at least one must stay visible and one be hidden.")
    }
    public static var maskPattern: Option<MaskPattern?> {
        Option(
            "mask_pattern", .choice(MaskPattern.self),
            auto: "\(Objectives.summary { $0.usualMasks?.pattern.rawValue }), in convolutional networks always random", section: .objective,
            "Choice of the hidden patches: random, block (BEiT), grid (every fourth stays), multi_block (I-JEPA).")
    }
    public static var teacherDecay: Option<Double?> {
        Option(
            "teacher_decay", .number(0...1), auto: Objectives.summary { $0.usualTeacherDecay.map { NumberText.short($0.start) } },
            section: .objective, "EMA decay of the teacher in the first step.")
    }
    public static var teacherDecayEnd: Option<Double?> {
        Option(
            "teacher_decay_end", .number(0...1), auto: Objectives.summary { $0.usualTeacherDecay.map { NumberText.short($0.end) } },
            section: .objective, "The same in the last step, on a straight line from the first; of montage on half a cosine.")
    }
    public static let targetNorm = Option(
        "target_norm", .choice(Teacher.Norm.self), default: .layer, section: .objective,
        "How a teacher's features become targets: layer, each token over its features, as in the papers; instance, each feature over the tokens of its image, so that what a whole image shares, as its colour, is no target."
    )
    public static let smoothL1Beta = Option(
        "smooth_l1_beta", .number(0...), auto: "2 (data2vec), 1 (ijepa), squares only (given)", section: .objective,
        "Where the smooth L1 loss goes over from a square to a line.")
    public static let normPixLoss = Option(
        "norm_pix_loss", .flag, default: true, section: .objective,
        "Reconstruct pixels standardised per patch (He et al. 2021) instead of raw ones; simmim takes raw ones unless this is set; beit's tokens are of such patches."
    )
    public static let hiddenCells = Option(
        "hidden_cells", .choice(HiddenCells.self),
        auto: "skip in convolutional networks, else token. mae and ijepa always skip, teacher_student takes zero pixels",
        section: .objective,
        "What students do with hidden cells or patches: skip leaves them out of all computation and lets a decoder predict, token computes mask tokens (vision transformers), zero the dense network on images whose hidden cells are zero (convolutional networks, for comparison)."
    )
    public static var task: Option<String> {
        let list = Heads.registry.all.map { "\($0.name), \($0.summary)" }
        return Option(
            "task", .name(among: Heads.registry.names), default: ClassifierHead.name, section: .objective,
            "Head that fine-tuning trains on the encoder: \(list.joined(separator: "; ")).")
    }

    /// Those of all objectives, then each objective's own.
    public static var pretraining: [any OptionDeclaration] {
        let shared: [any OptionDeclaration] = [
            objective, maskRatio, maskPattern, teacherDecay, teacherDecayEnd, targetNorm, smoothL1Beta, normPixLoss, hiddenCells,
        ]
        return shared + Objectives.registry.all.flatMap(\.options)
    }

    /// Those of each head and each loss.
    public static var finetuning: [any OptionDeclaration] {
        let heads: [any OptionDeclaration] = [task] + Heads.registry.all.flatMap(\.options)
        let losses: [any OptionDeclaration] =
            [Classification.lossName, ClassFrequencies.classCounts] + Losses.registry.all.flatMap(\.options)
        return heads + losses
    }

    public static var all: [any OptionDeclaration] { pretraining + finetuning }
}
