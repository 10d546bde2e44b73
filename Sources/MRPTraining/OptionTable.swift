import MRPEngine
import MRPModels
import MRPObjectives

/// What one option is: its key, type, default, limits and documentation. `Options`, the C ABI, Python's keyword arguments, the
/// command line and the manual are all derived from `OptionTable.all`.
public struct OptionDefinition: Sendable {
    public enum Kind: Sendable {
        case integer(ClosedRange<Int>)
        /// Numbers from `minimum` up to `maximum`; the upper limit itself is allowed unless `belowMaximum`.
        case number(minimum: Double, maximum: Double, belowMaximum: Bool)
        case flag
        case choice([String])
        /// Comma-separated numbers, one per channel; empty when measured.
        case numbers
        /// Any text, such as a path; the summary says which.
        case text
    }

    public let key: String
    public let kind: Kind
    /// The default as text; `auto` is explained in the summary.
    public let defaultValue: String
    public let section: String
    public let summary: String
    /// Whether `auto` may be given: the value then follows from the phase, the model or the data.
    public var allowsAuto: Bool { defaultValue == "auto" }
    /// Whether the key can be prefixed by a phase, `pretrain.` or `finetune.`.
    public let isPerPhase: Bool

    /// The limits in words, for errors and manuals.
    public var limits: String {
        switch kind {
        case .integer(let range): return "\(range.lowerBound) ... \(range.upperBound)"
        case .number(let minimum, let maximum, let below):
            if maximum == .infinity { return ">= \(minimum)" }
            return below ? "[\(minimum), \(maximum))" : "[\(minimum), \(maximum)]"
        case .flag: return "true or false"
        case .choice(let values): return values.joined(separator: ", ")
        case .numbers: return "numbers separated by commas"
        case .text: return "any text"
        }
    }

    public var typeName: String {
        switch kind {
        case .integer: return "integer"
        case .number: return "number"
        case .flag: return "flag"
        case .choice: return "choice"
        case .numbers: return "numbers"
        case .text: return "text"
        }
    }

    /// Checks a value's text; the error names key, value and limits.
    func validate(_ text: String) throws {
        if allowsAuto, text == "auto" { return }
        func refuse() -> MRPError {
            switch kind {
            case .integer, .number: return MRPError(.argument, "\(key) \(text) is outside \(limits)")
            default: return MRPError(.argument, "\(key) '\(text)' is not one of: \(limits)")
            }
        }
        switch kind {
        case .integer(let range):
            guard let value = Int(text) else { throw MRPError(.argument, "\(key) '\(text)' is not an integer") }
            guard range.contains(value) else { throw refuse() }
        case .number(let minimum, let maximum, let below):
            guard let value = Double(text), value.isFinite else { throw MRPError(.argument, "\(key) '\(text)' is not a number") }
            guard value >= minimum, below ? value < maximum : value <= maximum else { throw refuse() }
        case .flag:
            guard OptionDefinition.flags[text] != nil else { throw refuse() }
        case .choice(let values):
            guard values.contains(text) else { throw refuse() }
        case .numbers:
            for part in text.split(separator: ",") where Double(part.trimmed)?.isFinite != true {
                throw MRPError(.argument, "\(key) '\(text)' is not a list of numbers")
            }
        case .text: break
        }
    }

    static let flags = ["true": true, "false": false, "1": true, "0": false, "yes": true, "no": false]
}

extension Substring {
    var trimmed: String {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}

public enum OptionTable {
    static func option(
        _ key: String, _ kind: OptionDefinition.Kind, _ defaultValue: String, _ section: String, _ summary: String,
        perPhase: Bool = false
    ) -> OptionDefinition {
        OptionDefinition(
            key: key, kind: kind, defaultValue: defaultValue, section: section, summary: summary, isPerPhase: perPhase)
    }

    static func positive(_ maximum: Double = .infinity) -> OptionDefinition.Kind {
        .number(minimum: 0, maximum: maximum, belowMaximum: false)
    }

    static let fraction = OptionDefinition.Kind.number(minimum: 0, maximum: 1, belowMaximum: true)
    private static let largeCount = 1...(1 << 31)

    public static let all: [OptionDefinition] = network + objective + training + data + augmentation + files + run + defence + measurement

    private static let network = [
        option(
            "encoder", .choice(Encoders.names), "vit_tiny", "network",
            "Size of the vision transformer: width, depth and heads. micro 96 x 4 x 3, mini 128 x 6 x 4, tiny 192 x 12 x 3, small 384 x 12 x 6, base 768 x 12 x 12, large 1024 x 24 x 16, huge 1280 x 32 x 16. Or a convolutional network: a residual network of torchvision, or ConvNeXt V2."
        ),
        option(
            "image_size", .integer(1...65_536), "32", "network",
            "Height and width of the images that the network sees; setting it sets both."),
        option("image_height", .integer(1...65_536), "32", "network", "Height of the images, in pixels: a multiple of the patch height."),
        option("image_width", .integer(1...65_536), "32", "network", "Width of the images, in pixels: a multiple of the patch width."),
        option(
            "channels", .integer(1...4_096), "3", "network",
            "Channels of the images: 1 gray, 3 colour, any number for multispectral images."),
        option("patch_size", .integer(1...65_536), "4", "network", "Height and width of a patch; setting it sets both."),
        option("patch_height", .integer(1...65_536), "4", "network", "Height of a patch, in pixels."),
        option("patch_width", .integer(1...65_536), "4", "network", "Width of a patch, in pixels."),
        option(
            "width", .integer(4...TransformerLimits.width), "auto", "network",
            "Width D of a token, a multiple of 4 and of heads; of a convolutional network the channels of its first stage; auto: the encoder's (64 in residual networks)."
        ),
        option(
            "stem", .choice(ResidualNetwork.Stem.allCases.map(\.rawValue)), "auto", "network",
            "How a convolutional network begins: imagenet makes the image four times smaller (7 x 7 with stride 2 and a maximum with stride 2; in ConvNeXt patches of 4 x 4), cifar keeps its size; auto: cifar below 64 pixels."
        ),
        option(
            "cell_size", .integer(1...65_536), "auto", "network",
            "Side of the cells by which the images of a convolutional network are masked, in pixels: a multiple of the network's downsampling; auto: just that, 32 with stem imagenet, 8 with cifar."
        ),
        option("depth", .integer(1...TransformerLimits.depth), "auto", "network", "Number of transformer blocks; auto: the encoder's."),
        option("heads", .integer(1...TransformerLimits.width), "auto", "network", "Attention heads; auto: the encoder's."),
        option(
            "mlp_ratio", .number(minimum: 0.01, maximum: 64, belowMaximum: false), "4", "network",
            "Width of a block's hidden layer as a multiple of D."),
        option(
            "layer_norm_eps", .number(minimum: 1e-12, maximum: 1, belowMaximum: false), "1e-6", "network",
            "Epsilon of the layer norms (MAE and timm: 1e-6; Hugging Face's default: 1e-12)."),
        option(
            "decoder_width", .integer(4...TransformerLimits.width), "128", "network",
            "Width of the decoder's tokens (He et al. 2021: 512 for ViT-B); in convolutional networks its channels at the last stage's resolution, which spark halves at each doubling of it (Tian et al. 2023: 512)."
        ),
        option("decoder_depth", .integer(1...TransformerLimits.depth), "4", "network", "Blocks of the decoder (He et al. 2021: 8)."),
        option(
            "decoder_heads", .integer(1...TransformerLimits.width), "4", "network", "Attention heads of the decoder (He et al. 2021: 16)."),
        option(
            "pooling", .choice(["mean", "cls"]), "mean", "network", "What the classifier reads: the mean over patches, or the class token."),
        option("classes", .integer(2...(1 << 24)), "auto", "network", "Number of classes; auto: the data's."),
        option(
            "head_deviation", positive(), "auto", "network",
            "Deviation of a fresh classifier's weights (He et al. 2021: 2e-5, for long fine-tuning); auto: as is usual for the encoder, 0.01 where it is frozen."
        ),
    ]

    private static let objective = [
        option(
            "objective", .choice(Objectives.names), "auto", "objective",
            "What pretraining learns by (docs/objectives.md): mae (He et al. 2021), spark (Tian et al. 2023; convolutional networks), simmim (Xie et al. 2022), maskfeat (Wei et al. 2022), beit (Bao et al. 2022, with tokens of its own), data2vec (Baevski et al. 2022), ijepa (Assran et al. 2023), teacher_student (arXiv 2206.03826), given (targets of the caller's); auto: mae, or spark where the encoder is convolutional."
        ),
        option(
            "mask_ratio", fraction, "auto", "objective",
            "Share of the patches that is hidden: at least one must stay visible and one be hidden; auto: 0.75 (mae, ijepa), 0.6 (spark, simmim, data2vec, given), 0.4 (maskfeat, beit), 0.5 (teacher_student), in convolutional networks always 0.6; in reconstruction the model's own."
        ),
        option(
            "mask_pattern", .choice(MaskPattern.allCases.map(\.rawValue)), "auto", "objective",
            "Which patches are hidden: random, block (BEiT), grid (every fourth stays), multi_block (I-JEPA); auto: block for maskfeat, beit and data2vec, multi_block for ijepa, else and in convolutional networks random."
        ),
        option(
            "teacher_decay", .number(minimum: 0, maximum: 1, belowMaximum: false), "auto", "objective",
            "What the teacher keeps of itself in the first step; auto: 0.99, with ijepa 0.996."),
        option(
            "teacher_decay_end", .number(minimum: 0, maximum: 1, belowMaximum: false), "auto", "objective",
            "The same in the last step, on a straight line from the first; auto: 0.9999, with ijepa 1."),
        option(
            "teacher_layers", .integer(1...TransformerLimits.depth), "auto", "objective",
            "Blocks of the teacher, from the last, whose mean is data2vec's target; auto: half of them. Of a convolutional network 1, its last stage."
        ),
        option(
            "target_norm", .choice(Teacher.Norm.allCases.map(\.rawValue)), "layer", "objective",
            "How a teacher's features become targets: layer, each token over its features, as in the papers; instance, each feature over the tokens of its image, so that what a whole image shares, as its colour, is no target."
        ),
        option(
            "smooth_l1_beta", positive(), "auto", "objective",
            "Where the smooth L1 loss goes over from a square to a line; auto: 2 (data2vec), 1 (ijepa), squares only (given)."),
        option("codebook_size", .integer(2...65_536), "512", "objective", "Tokens of beit's tokenizer."),
        option(
            "target_width", .integer(1...65_536), "auto", "objective",
            "Numbers of a patch's target in objective given, where it must be set."),
        option(
            "norm_pix_loss", .flag, "true", "objective",
            "Reconstruct pixels standardised per patch (He et al. 2021) instead of raw ones; simmim takes raw ones unless this is set; beit's tokens are of such patches."
        ),
        option(
            "hidden_cells", .choice(HiddenCells.allCases.map(\.rawValue)), "auto", "objective",
            "What students do with hidden cells or patches: skip leaves them out of all computation and lets a decoder predict, token computes mask tokens (vision transformers), zero the dense network on images whose hidden cells are zero (convolutional networks, for comparison); auto: skip in convolutional networks, else token. mae and ijepa always skip, teacher_student takes zero pixels."
        ),
        option("label_smoothing", fraction, "0.1", "objective", "Weight of the uniform distribution in the classification target."),
    ]

    private static let training = [
        option(
            "epochs", .number(minimum: 0, maximum: 1e6, belowMaximum: false), "20", "training",
            "Passes over the data; a fraction is allowed.", perPhase: true),
        option(
            "batch_size", .integer(1...(1 << 20)), "128", "training", "Images per step; smaller when the dataset has fewer.", perPhase: true
        ),
        option(
            "optimizer", .choice(Optimizer.Method.allCases.map(\.rawValue)), "adamw", "training",
            "AdamW (Loshchilov & Hutter 2019), SGD with momentum, LARS (You et al. 2017), LAMB (You et al. 2020).", perPhase: true),
        option(
            "learning_rate", positive(), "auto", "training",
            "Peak learning rate; auto: base_learning_rate x batch size / 256.", perPhase: true),
        option(
            "base_learning_rate", positive(), "auto", "training",
            "Peak learning rate per 256 images; auto: 1.5e-3 in pretraining, 2e-3 in fine-tuning, 2e-2 with a frozen encoder, 0.1 with sgd and lars (values for small networks and data; He et al. 2021: 1.5e-4 and 5e-4 for ViT-B on ImageNet).",
            perPhase: true),
        option(
            "schedule", .choice(["cosine", "constant", "multistep"]), "cosine", "training",
            "Course of the learning rate after the warm-up, per step.", perPhase: true),
        option(
            "milestones", .numbers, "", "training", "Epochs at which schedule multistep multiplies the rate by decay_factor.",
            perPhase: true),
        option("decay_factor", fraction, "0.1", "training", "What schedule multistep multiplies the rate by.", perPhase: true),
        option("min_learning_rate", positive(), "0", "training", "Learning rate at the end of the cosine.", perPhase: true),
        option(
            "warmup_epochs", positive(), "auto", "training",
            "Epochs of linear warm-up; auto: 5 % of the epochs in pretraining, 10 % in fine-tuning.", perPhase: true),
        option(
            "weight_decay", positive(), "auto", "training",
            "Weight decay, not applied to biases and norms; auto: 0.05 with adamw and lamb (decoupled), 1e-4 with sgd, 0 with lars (added to the gradient).",
            perPhase: true),
        option(
            "weight_decay_end", positive(), "auto", "training",
            "Weight decay at the end of a cosine course per step; auto: weight_decay all along.", perPhase: true),
        option(
            "clip_gradient", positive(), "0", "training",
            "The gradients of a step are scaled so that their common norm is at most this; 0: not clipped.", perPhase: true),
        option(
            "accumulation_steps", .integer(1...65_536), "1", "training",
            "Batches whose gradients are averaged for one step: a step then sees batch_size x accumulation_steps images. Running statistics of batch norms follow its last batch.",
            perPhase: true),
        option(
            "decay_exempt", .choice(["mae", "mmpretrain"]), "mae", "training",
            "What has no weight decay beside biases and norms: mae as facebookresearch/mae (class token and learned positions in fine-tuning), mmpretrain also tokens and positions in pretraining.",
            perPhase: true),
        option(
            "drop_path", fraction, "0", "training",
            "Stochastic depth: the last block's branches are left out for this share of the images, those of lower blocks for less (Huang et al. 2016).",
            perPhase: true),
        option(
            "ema_decay", fraction, "0", "training",
            "What exponential moving averages of the weights keep of themselves per step; the run ends with the averages. 0: none.",
            perPhase: true),
        option(
            "recompute", .flag, "false", "training",
            "Keep only what enters each block for the gradients and compute the rest again: less memory, more time, the same numbers.",
            perPhase: true),
        option("beta1", fraction, "0.9", "training", "Decay of the first moment in adamw and lamb.", perPhase: true),
        option(
            "beta2", fraction, "auto", "training",
            "Decay of the second moment in adamw and lamb; auto: 0.95 in pretraining, 0.999 in fine-tuning.",
            perPhase: true),
        option("momentum", fraction, "0.9", "training", "Momentum of sgd and lars.", perPhase: true),
        option("nesterov", .flag, "false", "training", "Nesterov's momentum in sgd.", perPhase: true),
        option(
            "trust_coefficient", positive(), "0.001", "training", "Of lars: the share of a weight's norm that a step may change.",
            perPhase: true),
        option(
            "layer_decay", .number(minimum: 1e-3, maximum: 1, belowMaximum: false), "auto", "training",
            "Learning rate factor from each layer to the one below it; auto: 0.75 when fine-tuning a pretrained encoder, else 1.",
            perPhase: true),
        option(
            "frozen_encoder", .flag, "false", "training",
            "Fine-tuning trains the classifier head alone and leaves the encoder as it is: a linear probe."),
    ]

    private static let data = [
        option(
            "augmentation", .choice(["none", "flip", "pad_crop_flip", "random_resized_crop_flip"]), "auto", "data",
            "What is done to each training image; auto: pad_crop_flip when the images have the network's size, else random_resized_crop_flip.",
            perPhase: true),
        option("crop_padding", .integer(0...4_096), "4", "data", "Pixels of reflected border before a pad_crop_flip crop.", perPhase: true),
        option(
            "crop_scale_min", .number(minimum: 0.01, maximum: 1, belowMaximum: false), "0.2", "data",
            "Smallest share of the image's area in a random resized crop.", perPhase: true),
        option(
            "crop_scale_max", .number(minimum: 0.01, maximum: 1, belowMaximum: false), "1", "data",
            "Largest share of the image's area in a random resized crop.", perPhase: true),
        option(
            "mean", .numbers, "auto", "data",
            "Mean of each channel, integers as fractions of their range; auto: measured on the data of the first training."),
        option("std", .numbers, "auto", "data", "Standard deviation of each channel; auto: measured on the data of the first training."),
        option(
            "cache_bytes", .integer(0...(1 << 40)), "536870912", "data",
            "Decoded images of a folder are kept in memory up to this many bytes."),
        option("synthetic_classes", .integer(2...1_000), "10", "data", "Classes of the generated images."),
        option(
            "synthetic_single_view", .number(minimum: 0, maximum: 1, belowMaximum: false), "0.5", "data",
            "Share of generated images that show only one of their class's two parts."),
        option(
            "synthetic_first_image", .integer(0...(1 << 40)), "0", "data",
            "Where the generated set begins in its endless sequence: sets that do not overlap share classes but no image."),
        option(
            "features", .choice(["mean", "cls", "tokens"]), "mean", "data",
            "What encode returns: the mean over patches, the class token, or all tokens."),
        option(
            "layer", .integer(0...TransformerLimits.depth), "0", "data",
            "The block whose output encode returns, counted from 1; 0: the last, after the final norm."),
    ]

    private static let files = [
        option(
            "names", .choice(WeightNames.allCases.map(\.rawValue)), "hub", "files",
            "Names of the weights in a saved model: hub (Hugging Face files), timm (also those of facebookresearch/mae), transformers5 (its state_dict), transformers5_saved (its own files). Any of them is read."
        ),
        option(
            "weights_type", .choice(["F32", "F16", "BF16"]), "F32", "files",
            "Numbers in a saved model. F64, F32, F16 and BF16 are read."),
        option(
            "positions", .choice(["keep", "recompute", "bicubic"]), "keep", "files",
            "What loading does with positions for another image or patch size: keep (refuse), recompute the sine-cosine table, or interpolate as timm does."
        ),
        option(
            "patch_weights", .choice(["keep", "resample"]), "keep", "files",
            "What loading does when patch_size is not the file's: keep (refuse), or resample the patch weights (Beyer et al. 2023)."),
        option(
            "channel_weights", .choice(["keep", "repeat", "average"]), "keep", "files",
            "What loading does when channels are not the file's: keep (refuse), repeat the channels' weights in turn, or average them."),
        option(
            "classifier", .choice(["keep", "new"]), "keep", "files",
            "Whether loading keeps the file's classifier or leaves it out; new with classes set makes a fresh one."),
    ]

    private static let run = [
        option("seed", .integer(0...Int.max), "0", "run", "Fixes weights, masks, order and augmentation: same seed, same bits."),
        option(
            "threads", .integer(1...Compute.maximumThreads), "auto", "run",
            "Threads that compute; auto: one per processor. Results do not depend on it."),
        option("loader_threads", .integer(0...256), "1", "run", "Background threads that prepare images. Results do not depend on it."),
        option(
            "instructions", .choice(["baseline", "avx2", "avx512", "neon"]), "auto", "run",
            "Instruction set of the kernels; auto: the best of this machine."),
        option(
            "convolutions", .choice(["fast", "direct"]), "fast", "run",
            "fast: 3 x 3 convolutions go by Winograd's method where it is faster; direct: never, because its rounding errors are some ten times larger (still below 1e-4 of the largest value)."
        ),
    ]

    static let byKey = Dictionary(uniqueKeysWithValues: all.map { ($0.key, $0) })

    /// The key among all that is nearest to a misspelt one.
    static func nearest(to key: String) -> String { Spelling.nearest(to: key, among: all.map(\.key)) }
}

enum TransformerLimits {
    static let width = 65_536
    static let depth = 1_024
}
