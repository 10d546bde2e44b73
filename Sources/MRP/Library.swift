// # 1. Library
//
// The version that was loaded, the names of status codes, and the text of the last error.

import CMRPTypes

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
