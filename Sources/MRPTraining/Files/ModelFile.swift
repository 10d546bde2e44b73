import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// Models as safetensors files; the configuration travels in the file's metadata and, for other tools, as a JSON file beside it
/// (`encoder.safetensors` and `encoder.json`; `model.safetensors` and `config.json`, as transformers expects).
public enum ModelFile {
    static let configurationKey = "libmrp.config"

    /// Writes both files, each replaced as a whole. Same model and options, same bytes.
    ///
    /// Options: `names` (the spelling) and `weights_type`. A folder gets `model.safetensors` and `config.json`.
    public static func save(_ model: Model, to path: String, _ options: Options = Options()) throws {
        let names = options[FileOptions.names]
        if names != .hub { try model.checkNoExperts("names \(names.rawValue)") }
        let floats = options[FileOptions.weightsType]
        let file = WeightSource.isFolder(path) ? (path.hasSuffix("/") ? path : path + "/") + WeightSource.singleName : path
        let configuration = try ModelConfiguration.json(model)
        var tensors: [Safetensors.Tensor] = []
        let zero = try Memory(bytes: 8, for: "a file")
        zero.raw.storeBytes(of: 0, as: Int64.self)
        let table = NameTable()
        let omitted = omitted(model, names)
        for specification in model.parameters.specifications where !omitted(specification.name) {
            guard let tensor = model.parameters[specification.name] else { continue }
            for piece in table.pieces(of: specification, in: names) {
                let bytes = 4 * piece.shape.reduce(1, *)
                let data = UnsafeRawBufferPointer(start: tensor.memory + 4 * piece.offset, count: bytes)
                tensors.append(Safetensors.Tensor(piece.name, piece.shape, data))
            }
            // torch counts the batches that a batch norm has seen: its files have a place for it, though nothing depends on it.
            if specification.name.hasSuffix(".running_var") {
                let name = specification.name.dropLast("running_var".count) + "num_batches_tracked"
                tensors.append(Safetensors.Tensor(String(name), [], UnsafeRawBufferPointer(zero.raw), format: .int64))
            }
        }
        // Transformers refuses files without the key "format".
        let metadata = [("format", "pt"), (configurationKey, configuration.text())]
        try checkReadable(metadata[1].1)
        try Safetensors.write(tensors, metadata: metadata, floats: floats, to: file)
        let text = Array((configuration.text(indent: 2) + "\n").utf8)
        try text.withUnsafeBytes { try FileSystem.replace(configurationPath(file), with: [$0]) }
    }

    /// Refuses a configuration that `load` would refuse, as that of class names without end. Errors: `.argument`.
    private static func checkReadable(_ configuration: String) throws {
        do {
            _ = try ModelConfiguration.description(JSON.parse(configuration))
        } catch let error as MRPError where error.code == .format {
            throw MRPError(.argument, "the file could not be read again: \(error.message)")
        }
    }

    /// Tells the weights that are not for the file: those of some objectives, and those that the spelling has no place for.
    private static func omitted(_ model: Model, _ names: WeightNames) -> (String) -> Bool {
        let kept = Set((model.objective?.keptParameters() ?? []).map(\.name)).union(model.headNames)
        let dropped = model.objectiveNames.subtracting(kept)
        let unwritten = model.encoder.optionalWeights(head: model.head).filter { $0.unwrittenIn.contains(names) }
        return { name in dropped.contains(name) || unwritten.contains { $0.contains(name) } }
    }

    /// The configuration and, under `weights`, every weight's name, shape and count; under `features` the tokens and the width that each
    /// layer gives; under `attention` heads and tokens of each layer, or null; under `notes` what was assumed when it was read.
    public static func describe(_ model: Model) throws -> JSON {
        try Memory.check(model.parameters.specifications.count, bytesEach: 2_048, for: "the description of the weights")
        let weights = model.parameters.specifications.map { specification -> JSON in
            .object([
                ("name", .string(specification.name)), ("shape", .array(specification.storedShape.map { .integer($0) })),
                ("count", .integer(specification.shape.reduce(1, *))), ("trainable", .bool(specification.isTrainable)),
            ])
        }
        var members = try ModelConfiguration.json(model).members ?? []
        members.append(("parameters", .integer(model.parameters.count)))
        members.append(("weights", .array(weights)))
        let shapes = (1...model.encoder.depth).map { model.encoder.featureShape(layer: $0) }
        members.append(("features", .array(shapes.map { .array([.integer($0.tokens), .integer($0.width)]) })))
        let attention = (1...model.encoder.depth).map { model.encoder.attentionShape(layer: $0) }
        members.append(("attention", .array(attention.map { $0.map { .array([.integer($0.heads), .integer($0.tokens)]) } ?? .null })))
        if !model.notes.isEmpty { members.append(("notes", .array(model.notes.map { .string($0) }))) }
        return .object(members)
    }

    static func configurationPath(_ path: String) -> String {
        if path == WeightSource.singleName || path.hasSuffix("/" + WeightSource.singleName) {
            return path.dropLast(WeightSource.singleName.count) + "config.json"
        }
        return (path.hasSuffix(".safetensors") ? String(path.dropLast(".safetensors".count)) : path) + ".json"
    }

    /// Reads a model of any spelling: a file, an index of shards, or a folder. Missing, unexpected and mis-shaped tensors are named in one
    /// error; nothing of a defective file is used. The options may ask for other shapes (see `ShapeAdaptation`); `Model.notes` says what was
    /// assumed, left out or changed.
    public static func load(_ path: String, _ options: Options = Options()) throws -> Model {
        try ModelReader(WeightSource(path: path), options).model()
    }
}
