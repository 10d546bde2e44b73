import MRPEngine
import MRPModels
import MRPOptions

/// The state of a run in a safetensors file: weights, optimiser moments, how many steps are done, and a checksum. Everything else follows
/// from the options and the counter-based random numbers, so a resumed run ends with the bytes of one that was never stopped.
/// The format is described in docs/checkpoints.md.
enum Checkpoint {
    static let version = 2
    private static let versionKey = "libmrp.checkpoint"
    static let stateKey = "libmrp.state"

    struct State {
        var phase: Phase
        var step: Int
        var steps: Int
        var batch: Int
        /// Batches per step.
        var accumulationSteps: Int
        var seed: UInt64
        var seconds: Double
        /// Sum of the losses of the present epoch, and of how many steps.
        var epochLosses = (sum: 0.0, count: 0)
        /// What the step showed: loss, learning rate, spread of the features.
        var values: [String: Double] = [:]
        /// State of the run beyond its steps: measurements, a lowered learning rate.
        var run: JSON?
    }

    static func save(_ model: Model, moments: [String: Tensor], _ state: State, to path: String) throws {
        let encoded = try encode(model, moments: moments, state)
        try withExtendedLifetime(encoded) { try FileSystem.replace(path, with: encoded.pieces) }
    }

    /// The bytes of the file; valid until the weights change.
    static func encode(_ model: Model, moments: [String: Tensor], _ state: State) throws -> Safetensors.Encoded {
        var tensors: [Safetensors.Tensor] = []
        for (name, tensor) in model.parameters.tensors.merging(moments, uniquingKeysWith: { first, _ in first }).sorted(by: {
            $0.key < $1.key
        }) {
            tensors.append(Safetensors.Tensor(name, tensor.shape, UnsafeRawBufferPointer(start: tensor.memory, count: tensor.bytes)))
        }
        var members: [(key: String, value: JSON)] = [
            ("phase", .string(state.phase.rawValue)), ("step", .integer(state.step)), ("steps", .integer(state.steps)),
            ("batch", .integer(state.batch)), ("parts", .integer(state.accumulationSteps)), ("seed", .integer(Int(state.seed))),
            ("seconds", .number(state.seconds)),
            ("epoch_loss", .number(state.epochLosses.sum)), ("epoch_steps", .integer(state.epochLosses.count)),
        ]
        let values = state.values.filter(\.value.isFinite).sorted { $0.key < $1.key }
        if !values.isEmpty { members.append(("values", .object(values.map { ($0.key, .number($0.value)) }))) }
        if let run = state.run { members.append(("run", run)) }
        let metadata = [
            (key: versionKey, value: String(version)), (stateKey, JSON.object(members).text()),
            (ModelFile.configurationKey, try ModelConfiguration.json(model).text()),
        ]
        return try Safetensors.encode(tensors, metadata: metadata, checksum: true)
    }

    /// Reads a checkpoint into the run's weights and moments. On any error nothing is changed.
    static func load(_ file: SafetensorsFile, _ model: Model, moments: [String: Tensor], expected: State) throws -> State {
        let path = file.path
        guard let found = file.metadata[versionKey].flatMap({ Int($0) }), let text = file.metadata[stateKey] else {
            throw MRPError(.format, "'\(path)' is not a checkpoint of a training run")
        }
        guard found == version else {
            throw MRPError(.version, "'\(path)' has checkpoint version \(found), this library reads version \(version)")
        }
        try file.verifyChecksum()
        let json = try JSON.parse(text)
        guard let phase = json["phase"]?.string.flatMap(Phase.init), let step = json["step"]?.integer, step >= 0,
            let steps = json["steps"]?.integer, let batch = json["batch"]?.integer, let seed = json["seed"]?.integer, seed >= 0,
            let seconds = json["seconds"]?.number, let sum = json["epoch_loss"]?.number, let count = json["epoch_steps"]?.integer
        else { throw MRPError(.format, "'\(path)' has no valid training state") }
        let parts = json["parts"]?.integer ?? 1
        for (name, mine, theirs) in [
            ("phase", expected.phase.rawValue, phase.rawValue), ("number of steps", "\(expected.steps)", "\(steps)"),
            ("batch size", "\(expected.batch)", "\(batch)"), ("accumulation_steps", "\(expected.accumulationSteps)", "\(parts)"),
            ("seed", "\(expected.seed)", "\(seed)"),
        ] where mine != theirs {
            throw MRPError(.state, "'\(path)' was made with \(name) \(theirs), this run has \(mine)")
        }
        let all = model.parameters.tensors.merging(moments) { first, _ in first }
        for (name, tensor) in all where file.entries[name]?.shape != tensor.shape {
            let shape = file.entries[name].map { "shape \($0.shape)" } ?? "nothing"
            throw MRPError(.format, "'\(path)' has \(shape) for '\(name)', this run needs shape \(tensor.shape)")
        }
        if let configuration = file.metadata[ModelFile.configurationKey] {
            model.normalization = try ModelConfiguration.description(JSON.parse(configuration)).normalization
        }
        for (name, tensor) in all {
            guard let entry = file.entries[name] else { continue }
            try file.read(entry, into: tensor.float32)
        }
        let values = (json["values"]?.members ?? []).compactMap { name, value in value.number.map { (name, $0) } }
        return State(
            phase: phase, step: step, steps: steps, batch: batch, accumulationSteps: parts, seed: UInt64(seed), seconds: seconds,
            epochLosses: (sum, count), values: Dictionary(values) { $1 }, run: json["run"])
    }
}
