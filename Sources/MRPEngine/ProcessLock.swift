import Glibc

/// The lock of what the whole process shares, for moments: a body takes no other lock and does not come back here.
///
/// A forked child gets it free. Swift's own `Mutex` does not serve: it tells threads apart by numbers that a child keeps from its parent, and
/// two threads that meet at it in a child can end the process.
public enum ProcessLock {
    nonisolated(unsafe) private static var lock = pthread_mutex_t()
    private static let initialized: Void = {
        pthread_mutex_init(&lock, nil)
        pthread_atfork(
            { pthread_mutex_lock(&ProcessLock.lock) }, { pthread_mutex_unlock(&ProcessLock.lock) },
            { pthread_mutex_unlock(&ProcessLock.lock) })
    }()

    public static func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        _ = initialized
        pthread_mutex_lock(&lock)
        defer { pthread_mutex_unlock(&lock) }
        return try body()
    }
}
