import MRPEngine

/// Contents of a safetensors file, as JSON.
public enum FileDescription {
    public static func json(_ path: String) throws -> JSON {
        let file = try SafetensorsFile(path: path)
        let state = file.metadata[Checkpoint.stateKey]
        let configuration = file.metadata[ModelFile.configurationKey]
        let kind = state != nil ? "checkpoint" : configuration != nil ? "model" : "tensors"
        var members: [(key: String, value: JSON)] = [("kind", .string(kind)), ("bytes", .integer(file.byteCount))]
        if let configuration { members.append(("configuration", try JSON.parse(configuration))) }
        if let state { members.append(("state", try JSON.parse(state))) }
        try Memory.check(file.entries.count, bytesEach: 1_500, for: "the description of \(file.entries.count) tensors")
        let entries = file.entries.values.sorted { $0.begin != $1.begin ? $0.begin < $1.begin : ByteName($0.name) < ByteName($1.name) }
        let tensors = entries.map { entry -> JSON in
            .object([
                ("name", .string(entry.name)), ("type", .string(entry.dtype)), ("shape", .array(entry.shape.map { .integer($0) })),
            ])
        }
        members.append(("tensors", .array(tensors)))
        return .object(members)
    }
}
