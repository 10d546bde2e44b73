import CMRPKernels

/// The processor as a place for computation: kernel table, precision, thread pool. `CPUBackend` compiles graphs for it.
///
/// Results do not depend on `threads`. A `Compute` runs one step at a time.
public final class Compute {
    public enum Instructions: String, CaseIterable, Sendable {
        case baseline, avx2, avx512, neon

        /// The number of the set in the C kernels.
        public var code: Int32 {
            switch self {
            case .baseline: 0
            case .avx2: 1
            case .avx512: 2
            case .neon: 3
            }
        }

        public static var best: Instructions { allCases.first { $0.code == mk_isa_best() } ?? .baseline }
    }

    public static let maximumThreads = 1024

    public let precision: Precision
    public let threads: Int
    /// Only direct sums for 3 x 3 convolutions, never Winograd's method, whose rounding errors are some ten times larger.
    public let convolvesDirectly: Bool
    let kernels: mk_kernels
    let pool: OpaquePointer

    /// `instructions` nil: the best set of this machine; `reference`: the plain loops instead (always in float64).
    ///
    /// Errors: `.argument` for threads outside 1 ... 1024, `.unsupported` for instructions that this machine lacks, `.memory`.
    public init(
        precision: Precision = .float32, threads: Int = 1, instructions: Instructions? = nil, reference: Bool = false,
        convolvesDirectly: Bool = false
    ) throws {
        guard threads >= 1, threads <= Self.maximumThreads else {
            throw MRPError(.argument, "threads \(threads) is outside 1 ... \(Self.maximumThreads)")
        }
        let table: UnsafePointer<mk_kernels>?
        if precision == .float64 {
            table = mk_kernels_reference_float64()
        } else if reference {
            table = mk_kernels_reference_float32()
        } else {
            table = mk_kernels_float32((instructions ?? .best).code)
        }
        guard let table else {
            throw MRPError(.unsupported, "this machine cannot run \(instructions.map { "\($0)" } ?? "these") instructions")
        }
        try Self.check(table)
        guard let pool = mk_pool_create(Int32(threads)) else { throw MRPError(.memory, "cannot create a pool of \(threads) threads") }
        self.precision = precision
        self.threads = threads
        self.convolvesDirectly = convolvesDirectly
        self.kernels = table.pointee
        self.pool = pool
    }

    deinit { mk_pool_destroy(pool) }

    /// Refuses a table without one of the kernels: `.internalError`, which names it.
    public static func check(_ table: UnsafePointer<mk_kernels>) throws {
        guard let missing = mk_kernels_missing(table) else { return }
        throw MRPError(.internalError, "the kernel table '\(String(cString: table.pointee.name))' has no '\(String(cString: missing))'")
    }

    /// The name of the kernel table in use, for example `avx512`.
    public var kernelName: String { String(cString: kernels.name) }
}
