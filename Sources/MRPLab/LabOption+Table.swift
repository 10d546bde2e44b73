import MRPEngine
import MRPOptions

extension OptionTable {
    /// The options of the laboratory, each with the paper's symbol.
    public static let laboratory = OptionTable(LabOption.all, presets: Preset.laboratory, adjective: "laboratory")
}

extension LabOption {
    static let all = data + network + pretraining + training + parts + subclasses + routers + run

    /// Numbers as reports and studies have them: "2.0".
    private static func number(_ range: some NumberRange) -> OptionType<Double> { .number(range).written { "\($0)" } }

    private static let data = [
        LabOption("classes", "k", .integer(2...1_000), \.classes, .data, "Classes; there are 2 k features."),
        LabOption(
            "dimension", "d", .integer(4...16_384), \.dimension, .data,
            "Dimension of a patch; at least 2 k, so that the features can be orthonormal."),
        LabOption("patches", "P", .integer(2...16_384), \.patches, .data, "Patches of a sample; at least 2 C_p."),
        LabOption("patches_per_feature", "C_p", .integer(1...1_024), \.patchesPerFeature, .data, "Patches that carry one feature."),
        LabOption(
            "presence", "s", number(0...1_000), \.presence, .data,
            "Every feature of another class is present with probability s / k; at most k."),
        LabOption(
            "single_fraction", "mu", number(0...1), \.singleFraction, .data,
            "Share of single-view samples in the data of pretraining and of training."),
        LabOption("main_low", "", number(0...100), \.mainLow, .data, "Lower limit of z_p in each patch of a shown feature of the label."),
        LabOption("main_high", "", number(0...100), \.mainHigh, .data, "Upper limit of z_p in each patch of a shown feature of the label."),
        LabOption(
            "other_low", "", number(0...100), \.otherLow, .data, "Lower limit of the sum of z_p of another class's feature, multi-view."),
        LabOption(
            "other_high", "", number(0...100), \.otherHigh, .data, "Upper limit of the sum of z_p of another class's feature, multi-view."),
        LabOption(
            "weak_view", "rho", number(0...100), \.weakView, .data, "Single-view: the label's hidden view has a sum of z_p in [rho, 2 rho]."
        ),
        LabOption(
            "single_other", "Gamma", number(0...100), \.singleOther, .data,
            "Single-view: another class's feature has a sum of z_p in [Gamma / 2, Gamma]."),
        LabOption(
            "feature_noise", "gamma", number(0...10), \.featureNoise, .data,
            "Every patch holds every feature with a coefficient in [0, gamma]."),
        LabOption(
            "noise", "sigma_p", number(0...10), \.noise, .data, "Standard deviation of the Gaussian noise in each coordinate of a patch."),
    ]

    private static let network = [
        LabOption(
            "kernels_per_class", "m", .integer(1...10_000), \.kernelsPerClass, .network, "Kernels per class; the network has K = k m."),
        LabOption("power", "q", .integer(2...16), \.power, .network, "Power of the smoothed ReLU."),
        LabOption(
            "radius", "rho_bar", number(1e-3...100), \.radius, .network,
            "Where the smoothed ReLU becomes linear, and the correlation from which a feature counts as captured."),
        LabOption(
            "initial_deviation", "sigma_0", number(.above(0, upTo: 10)), \.initialDeviation, .network,
            "Standard deviation of the initial weights."),
    ]

    private static let pretraining = [
        LabOption(
            "tau", "tau", number(.above(0, upTo: 10)), \.tau, .pretraining,
            "The teacher's weights are tau times the student's; 1: nothing to learn from."),
        LabOption("theta", "theta", number(.above(0, upTo: 1)), \.theta, .pretraining, "Probability that a patch is kept."),
        LabOption(
            "masks", "", .choice(LabOptions.Masks.self), \.masks, .pretraining,
            "averaged: the exact average over all masks; sampled: a new mask of each sample in each step."),
        LabOption(
            "teacher", "", .choice(LabOptions.TeacherKind.self), \.teacher, .pretraining,
            "scaled: tau times the student; ema: a moving average of that; fixed: tau times the initial student."),
        LabOption("ema_decay", "", number(0..<1), \.emaDecay, .pretraining, "Decay of the ema teacher."),
        LabOption(
            "pretrain_samples", "N_pre", .integer(1...(1 << 30)), \.pretrainSamples, .pretraining, "Samples of pretraining, without labels."
        ),
        LabOption(
            "pretrain_steps", "T", .integer(0...1_000_000), \.pretrainSteps, .pretraining,
            "Steps of pretraining; 0 leaves the random encoder."),
        LabOption(
            "step_rule", "", .choice(LabOptions.StepRule.self), \.stepRule, .pretraining,
            "relative: every kernel on its own clock; plain: gradient descent."),
        LabOption(
            "relative_step", "rel_step", number(.above(0, upTo: 1)), \.relativeStep, .pretraining,
            "Largest |change of w_r| / |w_r| in a relative step."),
        LabOption(
            "pretrain_rate", "eta", number(0...1e6), \.pretrainRate, .pretraining,
            "Learning rate of pretraining; with relative steps an upper limit."),
        LabOption("pretrain_batch", "", .integer(0...(1 << 30)), \.pretrainBatch, .pretraining, "Samples per step of pretraining; 0: all."),
    ]

    private static let training = [
        LabOption(
            "train_samples", "N", .integer(1...(1 << 30)), \.trainSamples, .training,
            "Labelled samples of fine-tuning and of supervised learning."),
        LabOption("train_batch", "", .integer(0...(1 << 30)), \.trainBatch, .training, "Samples per step of both; 0: all."),
        LabOption(
            "finetune_steps", "", .integer(0...1_000_000), \.finetuneSteps, .training,
            "Steps of fine-tuning, with a free head that starts at 0."),
        LabOption("head_rate", "eta_u", number(0...1e6), \.headRate, .training, "Learning rate of the head in fine-tuning."),
        LabOption("encoder_rate", "eta_w", number(0...1e6), \.encoderRate, .training, "Learning rate of the encoder in fine-tuning."),
        LabOption(
            "supervised_head", "", .choice(LabOptions.HeadKind.self), \.supervisedHead, .training,
            "Head of supervised learning: block, fixed sums of each class's kernels, or free, from 0."),
        LabOption(
            "supervised_steps", "", .integer(0...1_000_000), \.supervisedSteps, .training,
            "The most steps of supervised learning from random weights."),
        LabOption(
            "supervised_until", "", number(0...1), \.supervisedUntil, .training,
            "Share of the multi-view training samples whose being right ends supervised learning; 0: it takes all its steps."),
        LabOption("supervised_rate", "eta_SL", number(0...1e6), \.supervisedRate, .training, "Learning rate of supervised learning."),
        LabOption("test_samples", "N_test", .integer(1...(1 << 30)), \.testSamples, .training, "Fresh test samples of each kind."),
    ]

    private static let parts = [
        LabOption("finetune", "", .flag, \.finetune, .parts, "Fine-tune after pretraining."),
        LabOption("supervised", "", .flag, \.supervised, .parts, "Train the supervised baseline."),
        LabOption("frozen_probe", "", .flag, \.frozenProbe, .parts, "Train a head on the frozen pretrained encoder."),
        LabOption("controls", "", .flag, \.controls, .parts, "Run the controls beside the claims."),
        LabOption(
            "converged_kernels_per_class", "", .integer(1...10_000), \.convergedKernelsPerClass, .parts,
            "m of the control that trains a random encoder to convergence."),
        LabOption("converged_steps", "", .integer(0...1_000_000), \.convergedSteps, .parts, "Steps of that control."),
        LabOption("converged_head_rate", "", number(0...1e6), \.convergedHeadRate, .parts, "Learning rate of that control's head."),
        LabOption(
            "converged_encoder_rate", "", number(0...1e6), \.convergedEncoderRate, .parts, "Learning rate of that control's encoder."),
    ]

    private static let subclasses = [
        LabOption("subclasses", "k_s", .integer(2...10_000), \.subclasses, .hierarchical, "Subclasses of each of the two classes."),
        LabOption("groups", "", .integer(2...10_000), \.groups, .hierarchical, "Aligned groups of subclasses per class in the arm groups."),
        LabOption(
            "distractor_low", "", number(0...100), \.distractorLow, .hierarchical,
            "Lower limit of z in a hard sample's one patch with the other class's common feature."),
        LabOption(
            "distractor_high", "", number(0...100), \.distractorHigh, .hierarchical,
            "Upper limit of z in a hard sample's one patch with the other class's common feature."),
        LabOption("pretrain_power", "", .integer(2...16), \.pretrainPower, .hierarchical, "Power q in pretraining without labels."),
        LabOption(
            "pretrain_radius", "", number(1e-3...100), \.pretrainRadius, .hierarchical,
            "rho_bar in pretraining without labels, and what a captured feature's correlation reaches there."),
    ]

    private static let routers = [
        LabOption("samples", "", .numbers, \.sampleSizes, .patchRouting, "Sizes of the training set, even numbers that rise."),
        LabOption("epochs", "", .integer(1...1_000_000), \.epochs, .patchRouting, "Passes over the training set."),
        LabOption("capacity", "l", .integer(1...16_384), \.capacity, .patchRouting, "Patches that each of the two experts sees."),
        LabOption(
            "joint_experts", "", .integer(1...10_000), \.jointExperts, .patchRouting,
            "Experts of the arm whose routers are trained with them; their kernels are K divided by it."),
        LabOption("joint_capacity", "", .integer(1...16_384), \.jointCapacity, .patchRouting, "Patches that each of those experts sees."),
        LabOption(
            "router_deviation", "sigma_r", number(0...10), \.routerDeviation, .patchRouting,
            "Standard deviation of their routers' initial weights."),
        LabOption(
            "random_routers", "", .integer(1...1_000), \.randomRouters, .patchRouting,
            "Pairs of random routers whose mean the control takes."),
        LabOption("delta_d", "", number(0..<1), \.deltaD, .patchRouting, "Correlation of the two patterns that tell the classes."),
        LabOption(
            "delta_r", "", number(0...0.7), \.deltaR, .patchRouting,
            "Largest correlation of another pattern's centre with each of the two directions that tell."),
        LabOption(
            "lemma_delta_d", "", number(0..<1), \.lemmaDeltaD, .patchRouting, "delta_d of the regime in which the router lemma is tested."),
        LabOption("lemma_delta_r", "", number(0...0.7), \.lemmaDeltaR, .patchRouting, "delta_r of that regime."),
        LabOption("lemma_samples", "", .integer(2...(1 << 30)), \.lemmaSamples, .patchRouting, "Samples that its routers are made of."),
        LabOption("pattern_sets", "p", .integer(1...10_000), \.patternSets, .patchRouting, "Sets of patterns that tell nothing."),
        LabOption(
            "pattern_radius", "", number(0...10), \.patternRadius, .patchRouting, "Half of a set's standard deviation over all coordinates."
        ),
    ]

    private static let run = [
        LabOption("seeds", "", .integer(1...10_000), \.seeds, .run, "Number of seeds."),
        LabOption("first_seed", "", .integer(0...(1 << 62)), \.firstSeed, .run, "The first seed; the others follow it."),
        LabOption(
            "threads", "", .integer(0...Compute.maximumThreads), \.threads, .run,
            "Threads; 0: one per processor. Results do not depend on it."),
        LabOption("precision", "", .choice(Precision.self), \.precision, .run, "Arithmetic of the network; float64 is for checks."),
        LabOption(
            "instructions", .choice(Compute.Instructions.self), auto: "the best of this machine", \.instructions, .run,
            "Instruction set of the kernels."),
        LabOption("probe_every", "", .integer(1...1_000_000), \.probeEvery, .run, "Probes are taken every so many steps, and at the end."),
        LabOption(
            "data_bytes", "", .integer(1_024...(1 << 50)), \.dataBytes, .run,
            "Samples beyond this many bytes are generated in blocks whenever they are needed."),
    ]
}
