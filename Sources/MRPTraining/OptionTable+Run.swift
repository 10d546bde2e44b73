import MRPData

/// What a training run does beyond its steps: checkpoints, logs, measurements, limits.
extension OptionTable {
    private static let share = OptionDefinition.Kind.number(minimum: 0, maximum: 1, belowMaximum: false)

    static let augmentation = [
        option(
            "rand_augment", .text, "", "data",
            "RandAugment (Cubuk et al. 2020) in timm's notation, such as m9-mstd0.5-inc1, or a magnitude alone, which means that with it; empty: none. 8-bit images of 1 or 3 channels.",
            perPhase: true),
        option(
            "color_jitter", positive(10), "0", "data",
            "Strength of random changes of brightness, contrast and saturation; 0: none. 8-bit images of 1 or 3 channels.", perPhase: true),
        option(
            "random_erasing", share, "0", "data", "How often a rectangle of an image is erased (Zhong et al. 2020).", perPhase: true),
        option(
            "erasing_mode", .choice(RandomErasing.Mode.allCases.map(\.rawValue)), "pixel", "data",
            "What fills the rectangle: pixel, random numbers; const, the mean colour.", perPhase: true),
        option(
            "mixup", positive(100), "0", "data",
            "Fine-tuning mixes pairs of images with shares from Beta(mixup, mixup) (Zhang et al. 2018); 0: not."),
        option(
            "cutmix", positive(100), "0", "data",
            "Fine-tuning pastes boxes of one image into another, the share from Beta(cutmix, cutmix) (Yun et al. 2019); 0: not."),
        option("mix_probability", share, "1", "data", "How often a batch is mixed at all."),
        option("mix_switch_probability", share, "0.5", "data", "How often cutmix is taken where mixup is on too."),
        option(
            "unreadable_images", .choice(["refuse", "skip"]), "refuse", "data",
            "What training does with an image that cannot be read or decoded: refuse stops with its name, skip takes the next image and names it in the log."
        ),
    ]

    static let defence = [
        option(
            "run_folder", .text, "", "run",
            "Folder for the checkpoints and logs of a training run, one run at a time; it is made where there is none. Empty: nothing is written."
        ),
        option(
            "continue_run", .flag, "true", "run",
            "Whether training goes on from the newest checkpoint in run_folder where there is one; false refuses a folder that has some."),
        option("checkpoint_steps", .integer(0...(1 << 40)), "0", "run", "Steps from one checkpoint to the next; 0: by time alone."),
        option(
            "checkpoint_seconds", positive(), "300", "run",
            "Seconds from one checkpoint to the next; there is one at the end too. 0: by steps alone."),
        option("keep_checkpoints", .integer(1...1_000_000), "3", "run", "How many of the newest checkpoints are kept."),
        option(
            "time_budget", positive(), "0", "run",
            "Seconds after which training stops cleanly, with a checkpoint where there is a run_folder; 0: none."),
    ]
}
