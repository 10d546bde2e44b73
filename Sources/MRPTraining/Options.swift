import Glibc
import MRPEngine
import MRPOptions

/// Networks and computation as the options describe them.
extension Options {
    public var seed: UInt64 { UInt64(self[RunOptions.seed]) }

    /// Whether a run goes on from the checkpoints of a folder.
    public var hasRunFolder: Bool { !self[RunOptions.runFolder].isEmpty }

    public var threads: Int {
        self[RunOptions.threads] ?? min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1), Compute.maximumThreads)
    }

    /// A compute context as the options describe it.
    public func compute() throws -> Compute {
        try Compute(
            threads: threads, instructions: self[RunOptions.instructions], convolvesDirectly: self[RunOptions.convolutions] == .direct)
    }

    /// The backend that the options describe.
    public func backend() throws -> any Backend { try CPUBackend(compute()) }
}
