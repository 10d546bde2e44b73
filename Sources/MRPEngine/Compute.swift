import CMRPKernels

/// Which numbers, which instructions and how many threads: what turns a graph into calls of kernels.
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
    /// Whether 3 x 3 convolutions never go by Winograd's method, whose rounding errors are some ten times larger.
    public let convolvesDirectly: Bool
    let kernels: mk_kernels
    let pool: OpaquePointer
    /// What a cancelling thread sets; C memory because kernels poll it.
    let cancelFlag: UnsafeMutablePointer<Int32>

    /// `instructions` nil takes the best of this machine; `reference` runs the plain loops instead (float64 always does).
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
        guard let pool = mk_pool_create(Int32(threads)) else { throw MRPError(.memory, "cannot create a pool of \(threads) threads") }
        guard let flag = mk_allocate_zeroed(4) else {
            mk_pool_destroy(pool)
            throw MRPError(.memory, "cannot allocate the cancel flag")
        }
        self.precision = precision
        self.threads = threads
        self.convolvesDirectly = convolvesDirectly
        self.kernels = table.pointee
        self.pool = pool
        cancelFlag = flag.assumingMemoryBound(to: Int32.self)
    }

    deinit {
        mk_pool_destroy(pool)
        mk_release(cancelFlag)
    }

    /// The name of the kernel table in use, for example `avx512`.
    public var kernelName: String { String(cString: kernels.name) }
}
