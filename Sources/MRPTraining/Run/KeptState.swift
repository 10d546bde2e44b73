import Glibc
import MRPEngine

/// A state of a run beside its checkpoints, such as that of its best measurement: a file in the run folder, or, without a folder, the same
/// bytes in memory.
final class KeptState {
    private let name: String
    private let path: String?
    private var memory: (bytes: Memory, step: Int)?

    /// `name` is what errors call it; nil as path keeps it in memory.
    init(_ name: String, path: String?) { (self.name, self.path) = (name, path) }

    /// Whether the state after this step is here. Of a file this means that there is one.
    func holds(step: Int) -> Bool { path.map { access($0, R_OK) == 0 } ?? (memory?.step == step) }

    /// Replaces what was kept. Errors: `.io`, or `.memory` when there is no room for a second state; then the old one is still there.
    func save(_ encoded: Safetensors.Encoded, step: Int) throws {
        if let path { return try FileSystem.replace(path, with: encoded.pieces) }
        memory = (try encoded.copied(), step)
    }

    /// Errors: `.state` when nothing is kept, `.io`, `.format`.
    func open() throws -> SafetensorsFile {
        if let path { return try SafetensorsFile(path: path) }
        guard let memory else { throw MRPError(.state, "the run has not kept a \(name)") }
        return try SafetensorsFile(memory.bytes, path: name)
    }
}
