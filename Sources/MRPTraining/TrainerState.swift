import MRPEngine
import MRPModels
import MRPOptions

/// Saving, resuming and averages of a run.
extension Trainer {
    var state: Checkpoint.State {
        Checkpoint.State(
            phase: phase, step: progress.step, steps: progress.steps, batch: batch, accumulationSteps: recipe.accumulationSteps,
            seed: options.seed, seconds: progress.seconds, epochLosses: epochLosses, values: stepValues, run: runState, identity: identity)
    }

    /// Tensors that a checkpoint keeps beside the model's weights.
    private var kept: [String: Tensor] { optimizer.moments.merging(companions.tensors) { first, _ in first } }

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
        try Checkpoint.save(model, moments: kept, state, to: path)
    }

    /// Bytes of a checkpoint; valid until the next step.
    func encodedState() throws -> Safetensors.Encoded {
        try program.downloadState()
        return try Checkpoint.encode(model, moments: kept, state)
    }

    /// Continues a saved run with the same model, data and options: the result is the same, bit for bit, as without the stop. After an error
    /// nothing has changed.
    public func resume(from path: String) throws { _ = try resume(from: SafetensorsFile(path: path), found: .byCaller) }

    /// The way by which a run came to a checkpoint: it says what both must have in common.
    enum Source {
        /// In its folder: the same run, from the same first weights.
        case inFolder
        /// The caller named the file: the same run. Its first weights do not matter any more.
        case byCaller
        /// The run wrote it itself.
        case byItself
    }

    /// Returns lines for the log. The reading of the file can be stopped; what follows changes the run and is short.
    func resume(from file: SafetensorsFile, found source: Source, cancel: UnsafePointer<Int32>? = nil) throws -> [String] {
        let saved = try Interruption.allowed(cancel) { try Checkpoint(file) }
        let notes = source == .byItself ? [] : try check(saved, source)
        let tensors = model.parameters.tensors.merging(kept) { first, _ in first }
        try saved.check(tensors)
        try seek(step: saved.state.step)
        try saved.copy(into: tensors)
        try program.uploadState()
        if source != .byItself, let old = saved.state.identity { identity.weights = old.weights }
        runState = saved.state.run
        epochLosses = saved.state.epochLosses
        stepValues = saved.state.values
        show(step: saved.state.step, seconds: saved.state.seconds)
        return notes
    }

    /// Refuses (`.state`) a checkpoint of another run. Returns what the log should say.
    private func check(_ saved: Checkpoint, _ source: Source) throws -> [String] {
        let (path, theirs) = (saved.path, saved.state)
        func refuse(_ name: String, _ old: Any, _ new: Any) -> MRPError {
            MRPError(.state, "'\(path)' was made with \(name) \(old), this run has \(new)")
        }
        guard theirs.phase == phase else { throw refuse("phase", theirs.phase.rawValue, phase.rawValue) }
        guard let old = theirs.identity else {
            for (name, before, now) in [
                ("number of steps", theirs.steps, progress.steps), ("batch size", theirs.batch, batch),
                ("accumulation_steps", theirs.accumulationSteps, recipe.accumulationSteps),
            ] where before != now {
                throw refuse(name, before, now)
            }
            guard theirs.seed == options.seed else { throw refuse("seed", theirs.seed, options.seed) }
            return [
                "'\(path)' is of an older version, which did not note the run: that options, network and data are the same is not checked"
            ]
        }
        var differences = identity.differences(from: old)
        if source == .byCaller || old.weights == model.trainingStart { differences.removeAll { $0.name == RunIdentity.weightsName } }
        let despite = options[RunOptions.resumeDespite]
        guard differences.allSatisfy({ despite.contains($0.name) }) else { throw anotherRun(path, differences, source) }
        guard theirs.step <= progress.steps else {
            throw MRPError(.state, "'\(path)' is after step \(theirs.step), this run has \(progress.steps) steps")
        }
        return differences.map { "goes on in spite of \($0.text)" }
    }

    private func anotherRun(_ path: String, _ differences: [RunIdentity.Difference], _ source: Source) -> MRPError {
        // The names are all in the last part.
        let words = differences.prefix(6).map(\.text) + (differences.count > 6 ? ["\(differences.count - 6) more"] : [])
        let other = source == .inFolder ? "choose another run_folder, or " : ""
        return MRPError(
            .state,
            "'\(path)' is of another run: \(words.joined(separator: "; ")): \(other)set resume_despite="
                + differences.map(\.name).joined(separator: ",") + " to go on all the same")
    }

    /// Gives the model the weights of a checkpoint of this run, averaged where averages are kept; the run itself stays where it is.
    func takeWeights(from file: SafetensorsFile) throws {
        let saved = try Checkpoint(file)
        let tensors = model.parameters.tensors.merging(optimizer.averages) { first, _ in first }
        try saved.check(tensors)
        try saved.copy(into: tensors)
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
