import MRPEngine
import MRPModels
import MRPOptions

/// Saving, resuming and averages of a run.
extension Trainer {
    var state: Checkpoint.State {
        Checkpoint.State(
            phase: phase, step: progress.step, steps: progress.steps, batch: batch, accumulationSteps: recipe.accumulationSteps,
            seed: options.seed, seconds: progress.seconds, epochLosses: epochLosses, values: stepValues, run: runState)
    }

    /// Values of the last step by name: its loss, its learning rate, and the measures that it made itself.
    private var stepValues: [String: Double] {
        get {
            guard progress.step > 0 else { return [:] }
            return progress.measures.filter { measureNames.contains($0.key) }
                .merging(["loss": progress.loss, "learning_rate": progress.learningRate]) { $1 }
        }
        set {
            progress.loss = newValue["loss"] ?? .nan
            progress.learningRate = newValue["learning_rate"] ?? 0
            for name in measureNames { progress.measures[name] = newValue[name] }
        }
    }

    /// Writes the run's state between two steps; the file is replaced as a whole.
    public func save(to path: String) throws {
        try program.downloadState()
        try Checkpoint.save(model, moments: optimizer.moments, state, to: path)
    }

    /// Bytes of a checkpoint; valid until the next step.
    func encodedState() throws -> Safetensors.Encoded {
        try program.downloadState()
        return try Checkpoint.encode(model, moments: optimizer.moments, state)
    }

    /// Continues a saved run with the same model, data and options: the result is the same, bit for bit, as without the stop.
    public func resume(from path: String) throws { try resume(from: SafetensorsFile(path: path)) }

    func resume(from file: SafetensorsFile) throws {
        let saved = try Checkpoint.load(file, model, moments: optimizer.moments, expected: state)
        try program.uploadState()
        runState = saved.run
        epochLosses = saved.epochLosses
        stepValues = saved.values
        try seek(to: saved.step, seconds: saved.seconds)
    }

    /// Gives the model the weights of a checkpoint of this run, averaged where averages are kept; the run itself stays where it is.
    func takeWeights(from file: SafetensorsFile) throws {
        _ = try Checkpoint.load(file, model, moments: optimizer.averages, expected: state)
        optimizer.takeAverages(model)
        try program.uploadState()
    }

    /// Gives the model its averaged weights, where they are kept: the end of a run.
    func takeAverages() throws {
        try program.downloadState()
        optimizer.takeAverages(model)
        try program.uploadState()
    }

    /// Runs the body while the model has its averaged weights, where they are kept.
    func withAverages<Result>(_ body: () throws -> Result) throws -> Result {
        try program.downloadState()
        optimizer.exchangeAverages(model)
        defer { optimizer.exchangeAverages(model) }
        return try body()
    }
}
