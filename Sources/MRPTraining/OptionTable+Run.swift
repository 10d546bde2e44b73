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
            "hue_jitter", positive(0.5), "0", "data",
            "Largest random change of the hue, in turns, as a part of color_jitter's random order; 0: none. 8-bit images of 3 channels.",
            perPhase: true),
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
        option(
            "memory_limit", .integer(0...(1 << 50)), "0", "run",
            "Bytes that training may take for weights, moments, values of a step and batches; checked before step 1, where the error names the largest batch_size that fits. 0: none."
        ),
        option(
            "rollbacks", .integer(0...1_000), "0", "run",
            "How often a loss or a gradient that is not finite takes the run back to the last kept state, with a lower learning rate; then, and with 0, it is an error. The state is kept in the run_folder, else in memory."
        ),
        option("rollback_steps", .integer(1...(1 << 40)), "100", "run", "Steps from one state that is kept for rolling back to the next."),
        option(
            "rollback_factor", .number(minimum: 1e-6, maximum: 1, belowMaximum: false), "0.5", "run",
            "What the learning rate is multiplied by when the run is rolled back."),
        option("tensorboard", .flag, "true", "run", "Whether the run_folder gets TensorBoard event files beside the CSV log."),
    ]

    static let measurement = [
        option(
            "validate_epochs", .number(minimum: 1e-9, maximum: 1e6, belowMaximum: false), "auto", "measurement",
            "Epochs from one measurement on the held-out images to the next, there is one at the end too; auto: 1 in fine-tuning, a tenth of the run in pretraining.",
            perPhase: true),
        option(
            "probe", .choice(["knn", "linear", "both"]), "knn", "measurement",
            "How pretraining is measured: by nearest neighbours, by a linear classifier on frozen features, or both."),
        option(
            "early_stopping", .integer(0...1_000_000), "0", "measurement",
            "Training stops after this many measurements in a row that are not better than the best; 0: never."),
        option(
            "restore_best", .flag, "false", "measurement",
            "Whether the model ends with the weights of its best measurement. They are kept in the run_folder, else in memory."),
        option("knn_k", .integer(1...1_000_000), "20", "measurement", "Neighbours that vote (Wu et al. 2018)."),
        option(
            "knn_temperature", .number(minimum: 1e-3, maximum: 1e3, belowMaximum: false), "0.07", "measurement",
            "Temperature of the votes: exp(cosine similarity / temperature)."),
        option("probe_epochs", .integer(1...100_000), "90", "measurement", "Epochs of a linear probe (He et al. 2021: 90)."),
        option(
            "probe_learning_rate", positive(), "6.4", "measurement",
            "Peak learning rate of a linear probe, LARS (He et al. 2021: 0.1 for 256 images, 6.4 for their batch of 16384)."),
        option(
            "probe_batch_size", .integer(1...(1 << 20)), "auto", "measurement",
            "Images per step of a linear probe; auto: an eighth of them, 64 to 16384."),
        option(
            "probe_views", .integer(0...100_000), "0", "measurement",
            "Augmented views of the labelled images that a linear probe's epochs see in turn, with fine-tuning's augmentation; as many as probe_epochs: a new one each (He et al. 2021). 0: plain images."
        ),
    ]
}
