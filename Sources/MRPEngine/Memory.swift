import CMRPKernels

/// Memory of the library's allocator, aligned to 64 bytes: the one owner of memory whose size depends on the caller.
///
/// A failed allocation is an error, not the end of the process.
public final class Memory {
    /// Bytes that were asked for.
    public let bytes: Int
    public let base: UnsafeMutableRawPointer

    /// Errors: `.memory`, which names the purpose; `Cancelled`, where the caller wants a call to stop that can be stopped: work that takes long
    /// takes memory now and then.
    public init(bytes: Int, zeroed: Bool = false, for purpose: @autoclosure () -> String) throws {
        try Interruption.check()
        guard bytes >= 0, let base = zeroed ? mk_allocate_zeroed(Int64(max(bytes, 1))) : mk_allocate(Int64(max(bytes, 1))) else {
            throw MRPError(.memory, "cannot allocate \(bytes) bytes for \(purpose())")
        }
        self.bytes = bytes
        self.base = base
    }

    /// `count` elements of `elementBytes` each. Errors: `.memory`.
    public convenience init(
        _ count: Int, elementBytes: Int, zeroed: Bool = false, for purpose: @autoclosure () -> String
    ) throws {
        let bytes = try checkedProduct([count, elementBytes], bytesEach: 1, purpose())
        try self.init(bytes: bytes, zeroed: zeroed, for: purpose())
    }

    /// Refuses work whose small objects (texts, lists, dictionaries) will take about this much, before it begins: in Swift a failed
    /// allocation ends the process. Errors: `.memory`, which names the purpose.
    public static func check(_ count: Int, bytesEach: Int, for purpose: @autoclosure () -> String) throws {
        let bytes = try checkedProduct([count, bytesEach], bytesEach: 1, purpose())
        guard mk_has_room(Int64(bytes)) != 0 else { throw MRPError(.memory, "cannot allocate \(bytes) bytes for \(purpose())") }
    }

    deinit { mk_release(base) }

    public var raw: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: base, count: bytes) }

    /// All of it as elements of one type.
    public func typed<Element>(_: Element.Type) -> UnsafeMutableBufferPointer<Element> {
        let count = bytes / MemoryLayout<Element>.stride
        return UnsafeMutableBufferPointer(start: base.bindMemory(to: Element.self, capacity: count), count: count)
    }
}

/// The product of sizes that come from outside.
///
/// Errors: `code`, for a negative size or a product whose bytes reach 2^62; it names `what`, or the sizes as a tensor's shape.
public func checkedProduct(
    _ sizes: [Int], bytesEach: Int = 8, _ what: @autoclosure () -> String? = nil, code: MRPError.Code = .memory
) throws -> Int {
    var total = 1
    for size in sizes {
        let (product, overflow) = total.multipliedReportingOverflow(by: size)
        guard size >= 0, !overflow, product <= (1 << 62) / max(bytesEach, 1) else {
            throw MRPError(code, "\(what() ?? "a tensor of shape \(sizes)") is too large")
        }
        total = product
    }
    return total
}
