// # 1. Library
//
// The version that was loaded, the names of status codes, the text of the last error, memory and log.

import CMRPKernels
import CMRPTypes
import Glibc
import MRPEngine

/// The text of `mrp_build_info`, made once and kept for the life of the process; nil when there was no memory for it. Nobody writes it, so threads may share it.
nonisolated(unsafe) private let buildInfo: UnsafePointer<CChar>? = {
    let names = [MK_ISA_BASELINE: "baseline", MK_ISA_AVX2: "avx2", MK_ISA_AVX512: "avx512", MK_ISA_NEON: "neon"]
    let kernels = names[Int(mk_isa_best())] ?? "unknown"
    return UnsafePointer(strdup("\(String(cString: mt_build())), \(kernels) kernels"))
}()

/// The version of the loaded library, such as "0.1.0". The header's is `MRP_VERSION`.
///
/// Since 0.1.
@_cdecl("mrp_version")
public func mrp_version() -> UnsafePointer<CChar> {
    mt_version()
}

/// The version of the loaded library as a number, 10000 major + 100 minor + patch, to be compared with `MRP_VERSION_NUMBER`.
///
/// Since 0.1.
@_cdecl("mrp_version_number")
public func mrp_version_number() -> Int32 {
    MRP_VERSION_NUMBER
}

/// The build in one line, for bug reports and logs: version, commit, compiler, and the instruction set that the kernels use on this
/// machine.
///
/// - Returns: text such as "libmrp 0.1.0, commit 0123456789ab, clang 21.0.0, avx2 kernels"; it is static.
///
/// Since 0.1.
@_cdecl("mrp_build_info")
public func mrp_build_info() -> UnsafePointer<CChar> {
    buildInfo ?? mt_build()
}

/// What went wrong in the last call of this thread that failed: one line that names the value and the limit.
///
/// - Returns: the text, or "" when no call of this thread has failed. It is never NULL, belongs to the library, and stays until the
///   next failure in this thread. A call that succeeds leaves it as it was.
///
/// Since 0.1.
@_cdecl("mrp_last_error")
public func mrp_last_error() -> UnsafePointer<CChar> {
    mt_last_error()
}

/// The name of a status code.
///
/// - Parameter status: what a function returned.
/// - Returns: the name as it is written in this header, such as "MRP_ERR_MEMORY"; "unknown status" for any other number. The text
///   is static.
///
/// Since 0.1.
@_cdecl("mrp_status_string")
public func mrp_status_string(_ status: mrp_status) -> UnsafePointer<CChar> {
    mt_status_name(status)
}

/// Replaces the allocator of the library's large memory: images, weights, the values of a step, files that are read. Small objects still
/// use malloc. Memory that is in use goes back to the allocator that it came from.
///
/// - Parameters:
///   - allocate: hands out memory, or NULL when there is none: the call that needed it then returns MRP_ERR_MEMORY. NULL restores the default.
///   - release: takes memory back; NULL exactly when `allocate` is NULL.
///   - user: passed to both.
/// - Errors: MRP_ERR_ARGUMENT (only one of the functions is NULL).
///
/// Since 0.1.
@_cdecl("mrp_set_allocator")
public func mrp_set_allocator(_ allocate: mrp_allocate_fn?, _ release: mrp_release_fn?, _ user: UnsafeMutableRawPointer?) -> mrp_status {
    boundary {
        guard (allocate == nil) == (release == nil) else { throw MRPError(.argument, "allocate and release must be given together") }
        mk_set_allocator(allocate, release, user)
    }
}

/// Tells a function of the caller what happens; the library is silent otherwise. One function serves the whole process. A call that runs in
/// another thread may still use the function that was there before: it stays good until such calls have returned.
///
/// - Parameters:
///   - level: MRP_LOG_NONE; MRP_LOG_ERROR: errors; MRP_LOG_WARNING: errors and warnings; MRP_LOG_INFO: everything.
///   - log: receives the texts; NULL for none. It must not call the library. A call in another thread may still tell the former function
///     a line that it had begun when this one returns.
///   - user: passed to it.
/// - Errors: MRP_ERR_ARGUMENT (no such level).
///
/// Since 0.1.
@_cdecl("mrp_set_log")
public func mrp_set_log(_ level: Int32, _ log: mrp_log_fn?, _ user: UnsafeMutableRawPointer?) -> mrp_status {
    boundary {
        let chosen = LogLine.Level(rawValue: level)
        guard chosen != nil || level == Int32(MRP_LOG_NONE) else {
            throw MRPError(.argument, "log level \(level) is none of MRP_LOG_NONE, MRP_LOG_ERROR, MRP_LOG_WARNING, MRP_LOG_INFO")
        }
        guard let chosen, let log else { return Log.tell(nil, upTo: .error) }
        // The pointer is the caller's, who answers for its use in any thread.
        nonisolated(unsafe) let user = user
        Log.tell({ level, text in log(level.rawValue, text, user) }, upTo: chosen)
    }
}

/// Sets the function that long calls of this thread ask whether to stop, such as one that looks whether Ctrl-C was pressed. It reaches calls
/// that mrp_cancel cannot, because there is no model yet: making, reading and generating.
///
/// - Parameters:
///   - function: asked by every call of this thread that can take long; NULL for none, which is what a thread begins with.
///   - user: passed to it.
///
/// Since 0.1.
@_cdecl("mrp_set_interrupt")
public func mrp_set_interrupt(_ function: mrp_interrupt_fn?, _ user: UnsafeMutableRawPointer?) {
    mk_set_interrupt(function, user)
}

/// Bytes of large memory that the library holds now.
///
/// Since 0.1.
@_cdecl("mrp_memory_in_use")
public func mrp_memory_in_use() -> Int64 {
    mk_bytes_in_use()
}
