import MRPData
import MRPEngine
import MRPOptions

/// Options of a run: computation, checkpoints, logs, limits.
enum RunOptions {
    private static let positive = OptionType.number(0...)

    // MARK: Computation

    static let seed = Option(
        "seed", .integer(0...Int.max), default: 0, section: .run,
        "Fixes weights, masks, order and augmentation: same seed, same bits.")
    static let threads = Option(
        "threads", .integer(1...Compute.maximumThreads), auto: "one per processor. Results do not depend on it", section: .run,
        "Threads that compute.")
    static let instructions = Option(
        "instructions", .choice(Compute.Instructions.self), auto: "the best of this machine", section: .run,
        "Instruction set of the kernels.")
    static let convolutions = Option(
        "convolutions", .choice(ConvolutionMethod.self), default: .fast, section: .run,
        "fast: 3 x 3 convolutions go by Winograd's method where it is faster; direct: never, because its rounding errors are some ten times larger (still below 1e-4 of the largest value)."
    )

    static let device = Option(
        "device", .text, default: "cpu", section: .run,
        "Place of the computation: cpu; cuda, rocm or tpu, whose PJRT plug-in is installed as a package (docs/devices.md); or pjrt:/path/to/plugin.so."
    )
    static let devices = Option(
        "devices", .integer(1...1024), default: 1, section: .run,
        "Devices that share each batch, which must be a multiple: gradients and running statistics are means over them, batch norms take the statistics of their own share. The processor counts as one."
    )
    static let matmulPrecision = Option(
        "matmul_precision", .choice(MatmulPrecision.self), default: .highest, section: .run,
        "Precision of matrix products and convolutions on a device: highest: float32; high: tf32 where the device has it; medium: bfloat16 operands, float32 sums. The processor computes in float32."
    )
    static let deviceCache = Option(
        "device_cache", .text, auto: "the folder mrp among the user's caches", section: .run,
        "Folder that keeps compiled programs of devices. Empty: none are kept.")

    // MARK: Checkpoints

    static let runFolder = Option(
        "run_folder", .text, default: "", section: .run,
        "Folder for the checkpoints and logs of one training run; it is made where there is none. A run with other options, network or data is refused there: each estimator of a cross-validation needs its own. Empty: nothing is written."
    )
    static let continueRun = Option(
        "continue_run", .flag, default: true, section: .run,
        "Whether training goes on from the newest checkpoint in run_folder where there is one; false refuses a folder that has some.")
    static let resumeDespite = Option(
        "resume_despite", .names, default: [], section: .run,
        "What may differ between a run and the state that it goes on from, by the names in the refusal, such as learning_rate,epochs: any other difference of options, network or data is refused."
    )
    static let checkpointSteps = Option(
        "checkpoint_steps", .integer(0...(1 << 40)), default: 0, section: .run,
        "Steps from one checkpoint to the next; 0: by time alone.")
    static let checkpointSeconds = Option(
        "checkpoint_seconds", positive, default: 300, section: .run,
        "Seconds from one checkpoint to the next; there is one at the end too. 0: by steps alone.")
    static let keepCheckpoints = Option(
        "keep_checkpoints", .integer(1...1_000_000), default: 3, section: .run, "How many of the newest checkpoints are kept.")

    // MARK: Limits and faults

    static let timeBudget = Option(
        "time_budget", positive, default: 0, section: .run,
        "Seconds after which training stops cleanly, with a checkpoint where there is a run_folder; 0: none.")
    static let memoryLimit = Option(
        "memory_limit", .integer(0...(1 << 50)), default: 0, section: .run,
        "Bytes that training may take for weights, moments, values of a step and batches; checked before step 1, where the error names the largest batch_size that fits. 0: none."
    )
    static let rollbacks = Option(
        "rollbacks", .integer(0...1_000), default: 0, section: .run,
        "How often a loss or a gradient that is not finite takes the run back to the last kept state, with a lower learning rate; then, and with 0, it is an error. The state is kept in the run_folder, else in memory."
    )
    static let rollbackSteps = Option(
        "rollback_steps", .integer(1...(1 << 40)), default: 100, section: .run,
        "Steps from one state that is kept for rolling back to the next.")
    static let rollbackFactor = Option(
        "rollback_factor", .number(1e-6...1), default: 0.5, section: .run,
        "What the learning rate is multiplied by when the run is rolled back.")
    static let tensorboard = Option(
        "tensorboard", .flag, default: true, section: .run, "Whether the run_folder gets TensorBoard event files beside the CSV log.")

    static let computation: [any OptionDeclaration] = [
        seed, threads, DataOptions.loaderThreads, instructions, convolutions, device, devices, matmulPrecision, deviceCache,
    ]
    /// Where a run is kept and when it stops: no number of it depends on these.
    static let place: [any OptionDeclaration] = [
        runFolder, continueRun, resumeDespite, checkpointSteps, checkpointSeconds, keepCheckpoints, timeBudget, memoryLimit, tensorboard,
    ]
    static let rolling: [any OptionDeclaration] = [rollbacks, rollbackSteps, rollbackFactor]
}

/// Ways to compute 3 x 3 convolutions.
enum ConvolutionMethod: String, CaseIterable {
    case fast, direct
}
