import CMRPKernels
import CMRPTypes
import Glibc
import MRPEngine
import MRPLab
import MRPOptions
import MRPTraining

/// Runs the body of an exported function: Swift errors become status codes and the thread's error text.
func statusBoundary(_ body: () throws -> mrp_status) -> mrp_status {
    Registry.prepareForForks()
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

/// `boundary` for work that the function of mrp_set_interrupt can stop, and the flag.
func interruptible(_ flag: UnsafePointer<Int32>? = nil, _ body: () throws -> Void) -> mrp_status {
    boundary { try Interruption.allowed(flag, body) }
}

/// Object behind a handle: it can be in use by one call at a time.
class Handle {
    /// The process in which a call uses it, counted by forks; nil: none does. Guarded by the registry's lock.
    fileprivate var user: Int?
    class var kind: String { "handle" }

    /// Called when a call takes the object: brings up to date what lives elsewhere.
    func synchronize() throws {}
}

/// Flag that stops a call: set by the caller's function or by another thread, read by the kernels.
final class CancelFlag {
    private let memory: Memory

    init() throws { memory = try Memory(bytes: 4, zeroed: true, for: "the cancel flag") }

    var pointer: UnsafeMutablePointer<Int32> { memory.base.assumingMemoryBound(to: Int32.self) }
}

/// A handle whose calls can be stopped.
class CancellableHandle: Handle {
    private let flag: CancelFlag

    init(_ flag: CancelFlag) { self.flag = flag }

    var cancelFlag: UnsafeMutablePointer<Int32> { flag.pointer }
}

/// Stops the call that runs on a handle.
func cancel<Object: CancellableHandle>(_ pointer: UnsafeRawPointer?, _ type: Object.Type) -> mrp_status {
    statusBoundary {
        let handle = try Registry.find(pointer, type)
        // Under the lock under which calls begin: a call that is told to stop is the one that runs.
        let user = Registry.locked { () -> Int? in
            if handle.user == Registry.process { mk_flag_store(handle.cancelFlag, 1) }
            return handle.user
        }
        guard let user else { return mrp_status(MRP_DONE) }
        guard user == Registry.process else { throw Registry.forked(type) }
        return mrp_status(MRP_OK)
    }
}

/// The live handles, so that a NULL, destroyed or foreign pointer is an error and never a crash.
enum Registry {
    nonisolated(unsafe) private static var live: [UnsafeRawPointer: Handle] = [:]
    /// The pointer of the newest handle. It is a name that no later handle gets again, and nothing lies there; names begin where this copy
    /// of the library does, so that those of another copy are others.
    nonisolated(unsafe) private static var newest = UInt(bitPattern: #dsohandle)
    /// This process, counted by forks from the one that loaded the library.
    nonisolated(unsafe) fileprivate(set) static var process = 0
    nonisolated(unsafe) private static var lock = pthread_mutex_t()
    /// Before anything that a forked child could find half made.
    static func prepareForForks() { _ = initialized }

    /// A forked child gets the lock free, whatever the parent's threads were doing. A table that another thread is making is finished before
    /// the fork: the child would wait for that thread for ever.
    private static let initialized: Void = {
        pthread_mutex_init(&lock, nil)
        ProcessLock.locked {}  // its handlers come first, so that it is still free when the tables are made
        pthread_atfork(
            {
                _ = (OptionTable.training, OptionTable.laboratory)
                pthread_mutex_lock(&Registry.lock)
            }, { pthread_mutex_unlock(&Registry.lock) },
            {
                Registry.process += 1
                pthread_mutex_unlock(&Registry.lock)
            })
    }()

    static func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        _ = initialized
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        return try body()
    }

    /// Publishes an object; the pointer is its name until `remove`.
    static func add<Opaque>(_ handle: Handle, as type: Opaque.Type) throws -> UnsafeMutablePointer<Opaque> {
        let pointer = locked { () -> UnsafeMutableRawPointer? in
            newest &+= 16
            let pointer = UnsafeMutableRawPointer(bitPattern: newest)
            if let pointer { live[UnsafeRawPointer(pointer)] = handle }
            return pointer
        }
        guard let pointer else { throw MRPError(.internalError, "the names of handles are used up") }
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
        try exclusively(find(pointer, type)) {
            try $0.synchronize()
            return try body($0)
        }
    }

    static func exclusively<Object: Handle, Result>(_ object: Object, _ body: (Object) throws -> Result) throws -> Result {
        let user = locked { () -> Int? in
            guard object.user == nil else { return object.user }
            object.user = process
            // A wish to stop an earlier call is none for this one.
            if let object = object as? CancellableHandle { mk_flag_store(object.cancelFlag, 0) }
            return nil
        }
        if let user {
            throw user == process ? MRPError(.busy, "\(Object.kind) is in use by another call") : forked(Object.self)
        }
        defer { locked { object.user = nil } }
        return try body(object)
    }

    static func forked<Object: Handle>(_: Object.Type) -> MRPError {
        MRPError(.forked, "\(Object.kind) was in use when this process was forked: only the parent process can go on with it")
    }

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
