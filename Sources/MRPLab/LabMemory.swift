import CMRPKernels
import MRPEngine

/// Memory from the library's allocator: a failed allocation is an error, not the end of the process.
final class LabMemory {
    let base: UnsafeMutableRawPointer
    let bytes: Int

    /// `count` elements of `elementBytes` each. Errors: `.memory`.
    init(_ count: Int, elementBytes: Int, for purpose: @autoclosure () -> String, zeroed: Bool = false) throws {
        let (bytes, overflow) = count.multipliedReportingOverflow(by: elementBytes)
        guard count >= 0, !overflow, let base = zeroed ? mk_allocate_zeroed(Int64(max(bytes, 1))) : mk_allocate(Int64(max(bytes, 1)))
        else { throw MRPError(.memory, "cannot allocate \(count) x \(elementBytes) bytes for \(purpose())") }
        self.base = base
        self.bytes = bytes
    }

    deinit { mk_release(base) }

    func typed<Element>(_: Element.Type) -> UnsafeMutableBufferPointer<Element> {
        let count = bytes / MemoryLayout<Element>.stride
        return UnsafeMutableBufferPointer(start: base.bindMemory(to: Element.self, capacity: count), count: count)
    }
}
