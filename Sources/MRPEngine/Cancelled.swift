import CMRPKernels

/// The call was stopped: by its caller's function, by another thread, or by a signal.
public struct Cancelled: Error {
    public init() {}
}

/// The wish of a caller that the call on this thread stops, for work that no cancel flag is handed to: reading, writing, copying.
public enum Interruption {
    /// Runs the body, which `check` stops when the flag becomes nonzero, or when the function says so that `mk_set_interrupt` gave this
    /// thread. Outside of such a body `check` does nothing: what a run writes while it is being stopped is written.
    public static func allowed<Result>(_ flag: UnsafePointer<Int32>? = nil, _ body: () throws -> Result) rethrows -> Result {
        let before = mk_interrupt_begin(flag)
        defer { mk_interrupt_end(before) }
        return try body()
    }

    /// Throws `Cancelled` where the caller wants the call to stop. Cheap enough for every image and every tensor.
    public static func check() throws {
        if mk_interrupted() != 0 { throw Cancelled() }
    }

    /// The same as an answer.
    public static var isWanted: Bool { mk_interrupted() != 0 }
}
