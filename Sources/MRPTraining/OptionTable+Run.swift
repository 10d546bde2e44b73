/// What a training run does beyond its steps: checkpoints, logs, measurements, limits.
extension OptionTable {
    static let defence = [
        option(
            "run_folder", .text, "", "run",
            "Folder for the checkpoints and logs of a training run, one run at a time; it is made where there is none. Empty: nothing is written."),
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
