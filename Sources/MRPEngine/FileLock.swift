import Glibc

/// An open file with a lock that one holder at a time has, in this process or another. The system takes it back when the process ends.
public final class FileLock {
    public let descriptor: Int32
    private let owner = getpid()

    /// Takes over the descriptor, which is closed with the lock. Errors: `.state` with this text when another one has the lock; `.io`.
    public init(_ descriptor: Int32, inUse text: @autoclosure () -> String) throws {
        self.descriptor = descriptor
        guard flock(descriptor, LOCK_EX | LOCK_NB) != 0 else { return }
        throw errno == EWOULDBLOCK
            ? MRPError(.state, text()) : MRPError(.io, "\(text()), or cannot be locked: \(String(cString: strerror(errno)))")
    }

    /// A forked child has the same lock: it ends with the process that took it, also while children live, and no child ends it.
    deinit {
        if owner == getpid() { flock(descriptor, LOCK_UN) }
        close(descriptor)
    }
}
