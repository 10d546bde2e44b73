import MRPEngine

/// Memory that grows to the largest size asked for and is then reused.
final class GrowingMemory {
    private var memory: Memory?

    func release() { memory = nil }

    /// At least `bytes` of memory; what was there before is lost when it grows.
    func reserve(_ bytes: Int, for purpose: @autoclosure () -> String) throws -> UnsafeMutableRawPointer {
        if let memory, memory.bytes >= bytes { return memory.base }
        memory = nil
        let grown = try Memory(bytes: bytes, for: purpose())
        memory = grown
        return grown.base
    }
}
