/// An error: one line for a person, and the status code that the C interface returns for it.
public struct MRPError: Error {
    public enum Code: Int32, Sendable {
        case argument = -1
        case handle = -2
        case busy = -3
        case memory = -4
        case io = -5
        case format = -6
        case version = -7
        case state = -8
        case numeric = -9
        case forked = -10
        case unsupported = -11
        case device = -12
        case internalError = -99
    }

    public let code: Code
    public let message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
