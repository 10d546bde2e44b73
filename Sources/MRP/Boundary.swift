import CMRPKernels
import CMRPTypes
import Glibc
import MRPEngine
import MRPTraining

/// The run was stopped by the callback or by `mrp_cancel`.
struct Cancelled: Error {}

/// Runs the body of an exported function: Swift errors become status codes and the thread's error text.
func statusBoundary(_ body: () throws -> mrp_status) -> mrp_status {
    do {
        return try body()
    } catch is Cancelled {
        return mrp_status(MRP_CANCELLED)
    } catch let error as MRPError {
        mt_set_last_error(error.message)
        Log.error(error.message)
        return error.code.rawValue
    } catch {
        mt_set_last_error("internal error: \(error)")
        Log.error("internal error: \(error)")
        return mrp_status(MRP_ERR_INTERNAL)
    }
}

/// `statusBoundary` for a body that only succeeds or throws.
func boundary(_ body: () throws -> Void) -> mrp_status {
    statusBoundary {
        try body()
        return mrp_status(MRP_OK)
    }
}

/// Object behind a handle: it can be in use by one call at a time.
class Handle {
    /// Guarded by the registry's lock.
    fileprivate var isBusy = false
    class var kind: String { "handle" }
}

/// Flag that stops a call: set by the caller's function or by another thread, read by the kernels.
final class CancelFlag {
    private let memory: Memory

    init() throws { memory = try Memory(bytes: 4, zeroed: true, for: "the cancel flag") }

    var pointer: UnsafeMutablePointer<Int32> { memory.base.assumingMemoryBound(to: Int32.self) }
}

/// A handle whose calls can be stopped.
protocol CancellableHandle: Handle {
    var flag: CancelFlag { get }
}

extension CancellableHandle {
    var cancelFlag: UnsafeMutablePointer<Int32> { flag.pointer }
}

/// Stops the call that runs on a handle.
func cancel<Object: CancellableHandle>(_ pointer: UnsafeRawPointer?, _ type: Object.Type) -> mrp_status {
    statusBoundary {
        let handle = try Registry.find(pointer, type)
        guard Registry.isBusy(handle) else { return mrp_status(MRP_DONE) }
        mk_flag_store(handle.cancelFlag, 1)
        return mrp_status(MRP_OK)
    }
}

/// The live handles, so that a NULL, destroyed or foreign pointer is an error and never a crash.
enum Registry {
    nonisolated(unsafe) private static var live: [UnsafeRawPointer: Handle] = [:]
    nonisolated(unsafe) private static var lock = pthread_mutex_t()
    /// A forked child gets the lock free, whatever the parent's threads were doing.
    private static let initialized: Void = {
        pthread_mutex_init(&lock, nil)
        pthread_atfork(
            { pthread_mutex_lock(&Registry.lock) }, { pthread_mutex_unlock(&Registry.lock) }, { pthread_mutex_unlock(&Registry.lock) })
    }()

    static func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        _ = initialized
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        return try body()
    }

    /// Publishes an object; the pointer is its name until `remove`.
    static func add<Opaque>(_ handle: Handle, as type: Opaque.Type) -> UnsafeMutablePointer<Opaque> {
        let pointer = Unmanaged.passUnretained(handle).toOpaque()
        locked { live[UnsafeRawPointer(pointer)] = handle }
        return pointer.assumingMemoryBound(to: Opaque.self)
    }

    /// The object behind a handle, which must be of the given kind.
    static func find<Object: Handle>(_ pointer: UnsafeRawPointer?, _ type: Object.Type) throws -> Object {
        guard let pointer else { throw MRPError(.argument, "\(Object.kind) is NULL") }
        guard let object = locked({ live[pointer] }) as? Object else {
            throw MRPError(.handle, "\(Object.kind) is not a live handle: it was destroyed, or is of another type")
        }
        return object
    }

    /// Runs the body while nobody else uses the object.
    static func exclusively<Object: Handle, Result>(
        _ pointer: UnsafeRawPointer?, _ type: Object.Type, _ body: (Object) throws -> Result
    ) throws -> Result {
        let object = try find(pointer, type)
        try acquire(object)
        defer { release(object) }
        return try body(object)
    }

    static func acquire<Object: Handle>(_ object: Object) throws {
        let wasBusy = locked {
            defer { object.isBusy = true }
            return object.isBusy
        }
        if wasBusy { throw MRPError(.busy, "\(Object.kind) is in use by another call") }
    }

    static func release(_ object: Handle) { locked { object.isBusy = false } }

    static func isBusy(_ object: Handle) -> Bool { locked { object.isBusy } }

    /// Forgets a handle; calls that still use the object keep it alive until they return.
    static func remove(_ pointer: UnsafeRawPointer?) {
        guard let pointer else { return }
        // The object must not be deallocated while the lock is held: its end may take other locks.
        let removed = locked { live.removeValue(forKey: pointer) }
        withExtendedLifetime(removed) {}
    }
}

func string(_ pointer: UnsafePointer<CChar>?, _ name: String) throws -> String {
    guard let pointer else { throw MRPError(.argument, "\(name) is NULL") }
    guard let text = String(validatingCString: pointer) else { throw MRPError(.argument, "\(name) is not valid UTF-8") }
    return text
}

func required<Pointee>(_ pointer: UnsafeMutablePointer<Pointee>?, _ name: String) throws -> UnsafeMutablePointer<Pointee> {
    guard let pointer else { throw MRPError(.argument, "\(name) is NULL") }
    return pointer
}

/// A non-negative size that fits an Int.
func size(_ value: Int64, _ name: String) throws -> Int {
    guard value >= 0, let size = Int(exactly: value) else { throw MRPError(.argument, "\(name) \(value) is negative") }
    return size
}

/// An index below `count`.
func index(_ value: Int64, below count: Int, _ name: String) throws -> Int {
    guard value >= 0, value < Int64(count) else { throw MRPError(.argument, "\(name) \(value) is outside 0 ..< \(count)") }
    return Int(value)
}

/// The caller's array of `capacity` elements, of which `needed` are written.
func output<Element>(
    _ pointer: UnsafeMutablePointer<Element>?, capacity: Int64, needed: Int, _ name: String
) throws -> UnsafeMutableBufferPointer<Element> {
    guard let pointer else { throw MRPError(.argument, "\(name) is NULL") }
    guard capacity >= Int64(needed) else {
        throw MRPError(.argument, "capacity \(capacity) of \(name) is too small: \(needed) elements are needed")
    }
    return UnsafeMutableBufferPointer(start: pointer, count: needed)
}

/// Hands out a text: as much as fits with a NUL at the end; `needed` gets the full size with the NUL.
func write(_ text: String, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?) throws {
    try text.utf8CString.withUnsafeBufferPointer { try write(UnsafeBufferPointer(rebasing: $0.dropLast()), buffer, capacity, needed) }
}

func write(
    _ bytes: UnsafeBufferPointer<CChar>, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?
) throws {
    needed?.pointee = Int64(bytes.count + 1)
    guard capacity >= 0 else { throw MRPError(.argument, "capacity \(capacity) is negative") }
    guard let buffer else {
        guard capacity == 0 else { throw MRPError(.argument, "buffer is NULL") }
        return
    }
    let fitting = min(bytes.count, max(Int(capacity) - 1, 0))
    if capacity > 0 {
        for index in 0..<fitting { buffer[index] = bytes[index] }
        buffer[fitting] = 0
    }
    guard fitting == bytes.count, capacity > 0 else {
        throw MRPError(.argument, "capacity \(capacity) is too small for a text of \(bytes.count + 1) bytes")
    }
}
