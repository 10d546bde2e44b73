import MRPModels
import MRPOptions

/// Options of the objectives: masks, targets, teachers, and the target of a classifier.
public enum ObjectiveOptions {
    public static let names = [
        MaskedAutoencoder.name, SparseMaskedModeling.name, SimMIM.name, MaskFeat.name, BEiT.name, Data2Vec.name, IJEPA.name,
        TeacherStudent.name, GivenTargets.name,
    ]

    public static let objective = Option(
        "objective", .name(among: names), auto: "mae, or spark where the encoder is convolutional", section: .objective,
        "What pretraining learns by (docs/objectives.md): mae (He et al. 2021), spark (Tian et al. 2023; convolutional networks), simmim (Xie et al. 2022), maskfeat (Wei et al. 2022), beit (Bao et al. 2022, with tokens of its own), data2vec (Baevski et al. 2022), ijepa (Assran et al. 2023), teacher_student (arXiv 2206.03826), given (targets of the caller's)."
    )
    public static let maskRatio = Option(
        "mask_ratio", .number(0..<1),
        auto:
            "0.75 (mae, ijepa), 0.6 (spark, simmim, data2vec, given), 0.4 (maskfeat, beit), 0.5 (teacher_student), in convolutional networks always 0.6; in reconstruction the model's own",
        section: .objective, "Share of the patches that is hidden: at least one must stay visible and one be hidden.")
    public static let maskPattern = Option(
        "mask_pattern", .choice(MaskPattern.self),
        auto: "block for maskfeat, beit and data2vec, multi_block for ijepa, else and in convolutional networks random",
        section: .objective, "Which patches are hidden: random, block (BEiT), grid (every fourth stays), multi_block (I-JEPA).")
    public static let teacherDecay = Option(
        "teacher_decay", .number(0...1), auto: "0.99, with ijepa 0.996", section: .objective,
        "What the teacher keeps of itself in the first step.")
    public static let teacherDecayEnd = Option(
        "teacher_decay_end", .number(0...1), auto: "0.9999, with ijepa 1", section: .objective,
        "The same in the last step, on a straight line from the first.")
    public static let teacherLayers = Option(
        "teacher_layers", .integer(1...TransformerLimits.depth), auto: "half of them. Of a convolutional network 1, its last stage",
        section: .objective, "Blocks of the teacher, from the last, whose mean is data2vec's target.")
    public static let targetNorm = Option(
        "target_norm", .choice(Teacher.Norm.self), default: .layer, section: .objective,
        "How a teacher's features become targets: layer, each token over its features, as in the papers; instance, each feature over the tokens of its image, so that what a whole image shares, as its colour, is no target."
    )
    public static let smoothL1Beta = Option(
        "smooth_l1_beta", .number(0...), auto: "2 (data2vec), 1 (ijepa), squares only (given)", section: .objective,
        "Where the smooth L1 loss goes over from a square to a line.")
    public static let codebookSize = Option(
        "codebook_size", .integer(2...65_536), default: 512, section: .objective, "Tokens of beit's tokenizer.")
    public static let targetWidth = Option(
        "target_width", .integer(1...65_536), auto: "none, objective given needs it set", section: .objective,
        "Numbers of a patch's target in objective given.")
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
    public static let labelSmoothing = Option(
        "label_smoothing", .number(0..<1), default: 0.1, section: .objective,
        "Weight of the uniform distribution in the classification target.")

    public static let all: [any OptionDeclaration] = [
        objective, maskRatio, maskPattern, teacherDecay, teacherDecayEnd, teacherLayers, targetNorm, smoothL1Beta, codebookSize,
        targetWidth, normPixLoss, hiddenCells, labelSmoothing,
    ]
}
