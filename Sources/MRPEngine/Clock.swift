import Glibc

/// Seconds of the monotonic clock.
public func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// A callback at most every `interval` seconds, however often `beat` is called.
public final class Heartbeat {
    private let interval: Double
    private let action: () -> Void
    private var last = monotonicSeconds()

    public init(interval: Double = 0.02, _ action: @escaping () -> Void) {
        self.interval = interval
        self.action = action
    }

    public func beat() {
        let now = monotonicSeconds()
        guard now - last >= interval else { return }
        last = now
        action()
    }
}
