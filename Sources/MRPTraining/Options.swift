import Glibc
import MRPDevice
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

    /// The backend that the options describe; with `sharesBatch` on all devices that they name, else on one.
    ///
    /// Errors: `.unsupported` when there is no plug-in or no device.
    public func backend(sharesBatch: Bool = false) throws -> any Backend {
        let device = self[RunOptions.device]
        guard device != "cpu" else { return try CPUBackend(compute()) }
        return try DeviceBackend(
            device: device, precision: self[RunOptions.matmulPrecision], replicas: sharesBatch ? self[RunOptions.devices] : 1,
            compute: compute(),
            cache: self[RunOptions.deviceCache].map { $0.isEmpty ? nil : $0 } ?? ExecutableCache.standardFolder)
    }
}
