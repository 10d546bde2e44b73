/// One line about what the library does.
public struct LogLine: Sendable {
    /// Raw values are those of the C interface.
    public enum Level: Int32, Sendable {
        case error = 1, info = 2, warning = 3

        /// Levels in the order in which they matter, the most important one first.
        private static let ranks: [Level] = [.error, .warning, .info]

        public func isHeard(at chosen: Level) -> Bool { Self.ranks.prefix { $0 != chosen }.contains(self) || self == chosen }
    }

    public let level: Level
    public let text: String

    public init(_ level: Level, _ text: String) { (self.level, self.text) = (level, text) }

    /// Something that is as it was asked for.
    public static func info(_ text: String) -> LogLine { LogLine(.info, text) }
    /// A result that may not be what the caller expects: something was left out, guessed, or cannot be kept.
    public static func warning(_ text: String) -> LogLine { LogLine(.warning, text) }
}

/// What the library tells the program that it is part of. One function serves the whole process; the library is silent without one.
///
/// To be used on the caller's threads only, so that the function may take the caller's locks.
public enum Log {
    public typealias Function = @Sendable (LogLine.Level, UnsafePointer<CChar>) -> Void

    private struct Target {
        let level: LogLine.Level
        let function: Function
    }
    nonisolated(unsafe) private static var target: Target?

    /// Chooses who hears lines of this level and of those that matter more; nil: nobody.
    public static func tell(_ function: Function?, upTo level: LogLine.Level) {
        let wanted = function.map { Target(level: level, function: $0) }
        ProcessLock.locked { target = wanted }
    }

    /// The function is called without the lock, so that it may take as long as it likes.
    private static func write(_ level: LogLine.Level, _ text: () -> String) {
        guard let target = ProcessLock.locked({ target }), level.isHeard(at: target.level) else { return }
        text().withCString { target.function(level, $0) }
    }

    public static func write(_ line: LogLine) { write(line.level, { line.text }) }
    public static func error(_ text: @autoclosure () -> String) { write(.error, text) }
    public static func warning(_ text: @autoclosure () -> String) { write(.warning, text) }
    public static func info(_ text: @autoclosure () -> String) { write(.info, text) }
}
