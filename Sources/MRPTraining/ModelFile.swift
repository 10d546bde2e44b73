import MRPEngine
import MRPModels

/// Models as safetensors files with Hugging Face names; the configuration travels in the file's metadata and, for other tools,
/// as a JSON file beside it (`encoder.safetensors` and `encoder.json`).
public enum ModelFile {
    static let configurationKey = "libmrp.config"

    /// Writes both files, each replaced as a whole. Same model, same bytes.
    public static func save(_ model: Model, to path: String) throws {
        let configuration = ModelConfiguration.json(model)
        var tensors: [(name: String, shape: [Int], data: UnsafeRawBufferPointer)] = []
        for specification in model.parameters.specifications {
            guard let tensor = model.parameters[specification.name] else { continue }
            for piece in HubNames.pieces(of: specification) {
                let bytes = 4 * piece.shape.reduce(1, *)
                tensors.append((piece.name, piece.shape, UnsafeRawBufferPointer(start: tensor.memory + 4 * piece.offset, count: bytes)))
            }
        }
        // Transformers refuses files without the key "format".
        let metadata = [("format", "pt"), (configurationKey, configuration.text())]
        try Safetensors.write(tensors, metadata: metadata, to: path)
        let text = Array((configuration.text(indent: 2) + "\n").utf8)
        try text.withUnsafeBytes { try FileSystem.replace(configurationPath(path), with: [$0]) }
    }

    /// The configuration and, under `weights`, every weight's name, shape and count.
    public static func describe(_ model: Model) -> JSON {
        let weights = model.parameters.specifications.map { specification -> JSON in
            .object([
                ("name", .string(specification.name)), ("shape", .array(specification.storedShape.map { .integer($0) })),
                ("count", .integer(specification.shape.reduce(1, *))), ("trainable", .bool(specification.isTrainable)),
            ])
        }
        var members = ModelConfiguration.json(model).members ?? []
        members.append(("parameters", .integer(model.parameters.count)))
        members.append(("weights", .array(weights)))
        return .object(members)
    }

    static func configurationPath(_ path: String) -> String {
        (path.hasSuffix(".safetensors") ? String(path.dropLast(".safetensors".count)) : path) + ".json"
    }

    /// Reads a model. Missing, unexpected and mis-shaped tensors are named in one error; nothing of a defective file is used.
    public static func load(_ path: String) throws -> Model {
        let file = try SafetensorsFile(path: path)
        let model: Model
        do {
            model = try ModelConfiguration.model(configuration(of: file, path))
        } catch let error as MRPError where error.code == .argument {
            throw MRPError(.format, "'\(path)' describes an impossible model: \(error.message)")
        }
        try fill(model, from: file, path)
        return model
    }

    private static func configuration(of file: SafetensorsFile, _ path: String) throws -> JSON {
        if let text = file.metadata[configurationKey] { return try JSON.parse(text) }
        let bytes: FileBytes
        do {
            bytes = try FileBytes(path: configurationPath(path))
        } catch {
            throw MRPError(.format, "'\(path)' has no '\(configurationKey)' in its metadata, and there is no '\(configurationPath(path))'")
        }
        return try JSON.parse(UnsafeRawBufferPointer(bytes.bytes).bindMemory(to: UInt8.self))
    }

    /// torch counts the batches that a batch norm has seen; nothing that it computes with the default momentum depends on it.
    private static func isCounter(_ name: String) -> Bool { name.hasSuffix(".num_batches_tracked") }

    private static func fill(_ model: Model, from file: SafetensorsFile, _ path: String) throws {
        var problems: [String] = []
        var expected = Set<String>()
        var reads: [(entry: SafetensorsFile.Entry, tensor: Tensor, offset: Int)] = []
        for specification in model.parameters.specifications {
            guard let tensor = model.parameters[specification.name] else { continue }
            for piece in HubNames.pieces(of: specification) {
                expected.insert(piece.name)
                guard let entry = file.entries[piece.name] else {
                    problems.append("'\(piece.name)' is missing")
                    continue
                }
                if entry.shape != piece.shape {
                    problems.append("'\(piece.name)' has shape \(entry.shape), expected \(piece.shape)")
                } else {
                    reads.append((entry, tensor, piece.offset))
                }
            }
        }
        problems += file.entries.keys.filter { !expected.contains($0) && !isCounter($0) }.sorted().map { "'\($0)' is unexpected" }
        guard problems.isEmpty else {
            let more = problems.count > 5 ? " and \(problems.count - 5) more" : ""
            throw MRPError(.format, "'\(path)' does not fit its configuration: \(problems.prefix(5).joined(separator: ", "))\(more)")
        }
        for (entry, tensor, offset) in reads {
            try file.read(entry, into: UnsafeMutableBufferPointer(rebasing: tensor.float32[offset..<(offset + entry.count)]))
        }
        for specification in model.parameters.specifications {
            guard let tensor = model.parameters[specification.name] else { continue }
            if let index = tensor.float32.firstIndex(where: { !$0.isFinite }) {
                throw MRPError(.numeric, "'\(path)': weight \(index) of '\(specification.name)' is \(tensor.float32[index])")
            }
        }
    }
}
