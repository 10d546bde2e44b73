import CMRPKernels
import MRPEngine

/// Memory from the library's allocator, whose size may depend on the caller: a failed allocation is an error, not the end of the process.
final class PixelMemory {
    let bytes: Int
    let base: UnsafeMutableRawPointer

    /// Errors: `.memory`.
    init(bytes: Int, for purpose: @autoclosure () -> String) throws {
        guard bytes >= 0, let base = mk_allocate(Int64(max(bytes, 1))) else {
            throw MRPError(.memory, "cannot allocate \(bytes) bytes for \(purpose())")
        }
        self.bytes = bytes
        self.base = base
    }

    deinit { mk_release(base) }

    func typed<Element>(_: Element.Type) -> UnsafeMutableBufferPointer<Element> {
        let count = bytes / MemoryLayout<Element>.stride
        return UnsafeMutableBufferPointer(start: base.bindMemory(to: Element.self, capacity: count), count: count)
    }
}

/// Memory that grows to the largest size asked for and is then reused.
final class GrowingMemory {
    private var memory: PixelMemory?

    /// At least `bytes` of memory; what was there before is lost when it grows.
    func reserve(_ bytes: Int, for purpose: @autoclosure () -> String) throws -> UnsafeMutableRawPointer {
        if let memory, memory.bytes >= bytes { return memory.base }
        memory = nil
        let grown = try PixelMemory(bytes: bytes, for: purpose())
        memory = grown
        return grown.base
    }
}

/// The product of sizes from outside, or an error that shows what was asked for.
func checkedProduct(_ sizes: [Int], _ what: @autoclosure () -> String) throws -> Int {
    var total = 1
    for size in sizes {
        let (product, overflow) = total.multipliedReportingOverflow(by: size)
        guard size >= 0, !overflow, product < 1 << 60 else { throw MRPError(.argument, "\(what()) is too large") }
        total = product
    }
    return total
}
