import CMRPKernels
import Glibc
import MRPEngine

/// Thrown when the progress callback or the cancel flag ended a run: not an error of the run.
public struct LabCancelled: Error {}

/// Kernels, threads and scratch memory of a run. Results do not depend on the number of threads.
final class LabCompute {
    let precision: Precision
    let threads: Int
    let kernels: mk_patch_kernels
    /// y = keep y + share x, the engine's.
    let blend: (@convention(c) (OpaquePointer?, Int64, Double, Double, UnsafeRawPointer?, UnsafeMutableRawPointer?) -> Void)?
    let pool: OpaquePointer

    var elementBytes: Int { precision.bytes }
    /// The instruction set in use, for example `avx512`.
    var kernelName: String { String(cString: kernels.name) }

    init(_ options: LabOptions, cancel: UnsafePointer<Int32>? = nil) throws {
        let instructions = options.instructions ?? .best
        guard let table = mk_patch_kernels_for(instructions.code, Int32(options.precision.bytes)) else {
            throw MRPError(.unsupported, "this machine cannot run \(instructions) instructions")
        }
        let wanted = options.threads > 0 ? options.threads : Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        threads = min(max(wanted, 1), Compute.maximumThreads)
        guard let pool = mk_pool_create(Int32(threads)) else { throw MRPError(.memory, "cannot create a pool of \(threads) threads") }
        mk_pool_set_cancel_flag(pool, cancel)
        self.pool = pool
        kernels = table.pointee
        let engine = options.precision == .float64 ? mk_kernels_reference_float64() : mk_kernels_float32(instructions.code)
        blend = engine?.pointee.blend
        precision = options.precision
    }

    deinit { mk_pool_destroy(pool) }

    /// Scratch for calls on up to `samples` samples.
    func reserve(_ network: mk_patch_network, samples: Int, classes: Int) throws {
        try reserve(withUnsafePointer(to: network) { kernels.scratch($0, Int64(samples), Int64(classes)) })
    }

    func reserve(_ need: mk_scratch) throws {
        guard mk_pool_reserve(pool, need.per_worker, need.shared) == 0 else {
            throw MRPError(.memory, "cannot allocate \(need.per_worker) bytes per thread and \(need.shared) bytes of scratch memory")
        }
    }

    /// Results after a cancelled call are meaningless, so every call ends with this.
    func check() throws {
        if mk_pool_cancelled(pool) != 0 { throw LabCancelled() }
    }
}

/// Counter streams of a seed (`RandomStream.Purpose.laboratory` in the low byte). They never change.
enum LabStream: UInt32 {
    case features = 1
    case weights = 2
    case supervisedWeights = 3
    case masks = 4
    case pretrainOrder = 5
    case trainOrder = 6
    /// Each dataset takes two: choices, then noise.
    case pretrainData = 8
    case trainData = 10
    case multiViewTest = 12
    case singleViewTest = 14
    case ownData = 16
    case randomLabels = 18
    case patterns = 19
    case patternPlaces = 20
    case readout = 21
    case routers = 22
    case lemmaData = 24
    case lemmaTest = 26

    var value: UInt32 { RandomStream.Purpose.laboratory.rawValue | rawValue << 8 }
}
