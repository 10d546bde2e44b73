import MRPEngine
import MRPModels
import MRPOptions

/// The state of a run in a safetensors file: weights, optimiser moments, how many steps are done, what run it is, and a checksum. Everything
/// else follows from the options and the counter-based random numbers, so a resumed run ends with the bytes of one that was never stopped.
/// The format is described in docs/checkpoints.md.
struct Checkpoint {
    /// Version 2 did not say what run it was of.
    static let version = 3
    private static let versions = 2...version
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
        var run: RunState?
        /// nil in files of version 2.
        var identity: RunIdentity?
    }

    let state: State
    private let file: SafetensorsFile
    var path: String { file.path }

    // MARK: Writing

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
        let metadata = [
            (key: versionKey, value: String(version)), (stateKey, json(state).text()),
            (ModelFile.configurationKey, try ModelConfiguration.json(model).text()),
        ]
        return try Safetensors.encode(tensors, metadata: metadata, checksum: true)
    }

    private static func json(_ state: State) -> JSON {
        var members: [(key: String, value: JSON)] = [
            ("phase", .string(state.phase.rawValue)), ("step", .integer(state.step)), ("steps", .integer(state.steps)),
            ("batch", .integer(state.batch)), ("parts", .integer(state.accumulationSteps)), ("seed", .integer(Int(state.seed))),
            ("seconds", .number(state.seconds)),
            ("epoch_loss", .number(state.epochLosses.sum)), ("epoch_steps", .integer(state.epochLosses.count)),
        ]
        let values = state.values.filter(\.value.isFinite).sorted { $0.key < $1.key }
        if !values.isEmpty { members.append(("values", .object(values.map { ($0.key, .number($0.value)) }))) }
        if let run = state.run { members.append(("run", run.json)) }
        if let identity = state.identity { members.append(("identity", identity.json)) }
        return .object(members)
    }

    // MARK: Reading

    /// Whether something in a file says that it is a checkpoint, be it damaged or not.
    static func isMarked(_ file: SafetensorsFile) -> Bool {
        file.metadata[versionKey] != nil || file.entries[Safetensors.checksumName] != nil
    }

    /// Reads and checks the state; the tensors follow by `copy`. Errors: `.format`, `.version`.
    init(_ file: SafetensorsFile) throws {
        self.file = file
        let path = file.path
        guard let found = file.metadata[Self.versionKey].flatMap({ Int($0) }), let text = file.metadata[Self.stateKey] else {
            throw MRPError(.format, "'\(path)' is not a checkpoint of a training run")
        }
        guard Self.versions.contains(found) else {
            let known = "\(Self.versions.lowerBound) to \(Self.versions.upperBound)"
            throw MRPError(.version, "'\(path)' has checkpoint version \(found), this library reads versions \(known)")
        }
        try file.verifyChecksum()
        do {
            state = try Self.state(JSON.parse(text))
        } catch let error as MRPError where error.code == .format {
            throw MRPError(.format, "'\(path)' has no valid training state: \(error.message)")
        }
        guard found < 3 || state.identity != nil else {
            throw MRPError(.format, "'\(path)' has no valid training state: identity is missing")
        }
    }

    private static let largest = 1 << 53

    private static func state(_ json: JSON) throws -> State {
        guard let phase = json["phase"]?.string.flatMap(Phase.init), json["step"] != nil, json["steps"] != nil, json["batch"] != nil,
            let seed = json["seed"]?.integer, seed >= 0, let seconds = json["seconds"]?.number, seconds.isFinite, seconds >= 0,
            let sum = json["epoch_loss"]?.number, sum.isFinite
        else { throw MRPError(.format, "a part is missing, or no number") }
        let steps = try json.count("steps", through: largest)
        let step = try json.count("step", through: steps)
        let values = (json["values"]?.members ?? []).compactMap { name, value in value.number.map { (name, $0) } }
        return State(
            phase: phase, step: step, steps: steps, batch: try json.count("batch", through: largest),
            accumulationSteps: json["parts"] == nil ? 1 : try json.count("parts", through: largest), seed: UInt64(seed), seconds: seconds,
            epochLosses: (sum, try json.count("epoch_steps", through: step)), values: Dictionary(values) { $1 },
            run: try json["run"].map { try RunState($0, step: step) }, identity: json["identity"].flatMap { RunIdentity($0) })
    }

    /// Refuses a checkpoint without a place for each of these tensors: `.state` where they are another network's or optimiser's, `.format` where
    /// they are no floats.
    func check(_ tensors: [String: Tensor]) throws {
        for (name, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            let entry = file.entries[name]
            guard let entry, entry.shape == tensor.shape else {
                let shape = entry.map { "shape \($0.shape)" } ?? "nothing"
                throw MRPError(.state, "'\(path)' has \(shape) for '\(name)', this run needs shape \(tensor.shape)")
            }
            guard entry.format == .float32 else {
                throw MRPError(.format, "'\(path)' has \(entry.dtype) for '\(name)', the numbers of a checkpoint are F32")
            }
        }
    }

    /// Copies what `check` has accepted.
    func copy(into tensors: [String: Tensor]) throws {
        for (name, tensor) in tensors {
            guard let entry = file.entries[name] else { continue }
            try file.read(entry, into: tensor.float32)
        }
    }
}
