import Glibc
import MRPEngine

/// The tensors of a model as they lie on disk: one safetensors file, or several with an index, and the JSON files beside them.
struct WeightSource {
    struct Tensor {
        let entry: SafetensorsFile.Entry
        let file: SafetensorsFile

        func read(into output: UnsafeMutableBufferPointer<Float>) throws { try file.read(entry, into: output) }
    }

    /// Path that the caller gave, for errors.
    let path: String
    /// The folder with a slash at its end, or nothing.
    let folder: String
    let tensors: NameMap<Tensor>
    let metadata: NameMap<String>
    /// The JSON beside a single file: its name with `.json`.
    let companion: String?

    static let singleName = "model.safetensors"
    static let indexName = "model.safetensors.index.json"

    /// Opens a safetensors file, an index file (`*.json`), or a folder that holds `model.safetensors` or its index.
    init(path: String) throws {
        self.path = path
        var file = path
        if Self.isFolder(path) {
            let folder = path.hasSuffix("/") ? path : path + "/"
            let found = [Self.singleName, Self.indexName].first { access(folder + $0, F_OK) == 0 }
            guard let found else {
                let pickle = "pytorch_model.bin"
                let hint = access(folder + pickle, F_OK) == 0 ? ", only \(pickle), a pickle: save its weights as safetensors" : ""
                throw MRPError(.io, "'\(path)' holds neither \(Self.singleName) nor \(Self.indexName)\(hint)")
            }
            file = folder + found
        }
        folder = file.lastIndex(of: "/").map { String(file[...$0]) } ?? ""
        if file.hasSuffix(".json") {
            (tensors, metadata) = (try Self.shards(index: file, folder: folder), NameMap())
            companion = nil
        } else {
            let opened = try SafetensorsFile(path: file)
            tensors = opened.entries.mapValues { Tensor(entry: $0, file: opened) }
            metadata = opened.metadata
            companion = ModelFile.configurationPath(file)
        }
    }

    static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// `{"metadata": ..., "weight_map": {tensor: file}}`: each tensor must be in its file, and each tensor of a file in the map.
    private static func shards(index path: String, folder: String) throws -> NameMap<Tensor> {
        func failure(_ text: String) -> MRPError { MRPError(.format, "'\(path)' is not a valid index of safetensors files: \(text)") }
        let json: JSON
        do {
            json = try JSON.read(path)
        } catch let error as MRPError where error.code == .format {
            throw failure(error.message)
        }
        guard let map = json["weight_map"] else { throw failure("it has no weight_map") }
        guard let members = map.members else { throw failure("weight_map is not an object") }
        var files = NameMap<SafetensorsFile>()
        var tensors = NameMap<Tensor>()
        var places = NameMap<String>()
        for (name, value) in members {
            guard let shard = value.string else { throw failure("the file of tensor '\(name)' is not a string") }
            guard !shard.isEmpty, !shard.contains("/"), shard != ".." else {
                throw failure("the file '\(shard)' of tensor '\(name)' is not a name in the same folder")
            }
            try Interruption.check()
            let file = try files[shard] ?? SafetensorsFile(path: folder + shard)
            files[shard] = file
            guard let entry = file.entries[name] else { throw failure("tensor '\(name)' is not in '\(shard)'") }
            tensors[name] = Tensor(entry: entry, file: file)
            places[name] = shard
        }
        for (shard, file) in files.sorted(by: { ByteName($0.key) < ByteName($1.key) }) {
            for name in file.entries.keys.sorted() where places[name] != shard {
                throw failure("tensor '\(name)' of '\(shard)' is not in the index")
            }
        }
        return tensors
    }
}

extension JSON {
    /// A JSON file of at most 100 MB. `MRP_ERR_IO` when it cannot be read, `MRP_ERR_FORMAT` when it is not JSON.
    static func read(_ path: String) throws -> JSON {
        // Read, not mapped: such files are edited in place, and one that becomes shorter while it is mapped ends the process.
        let file = try FileBytes(path: path, limit: SafetensorsFile.maximumHeaderBytes)
        // A value of two bytes of text becomes one of some 20.
        try Memory.check(file.bytes.count, bytesEach: 12, for: "what '\(path)' holds")
        return try parse(UnsafeBufferPointer(UnsafeMutableRawBufferPointer(file.bytes).bindMemory(to: UInt8.self)))
    }
}
