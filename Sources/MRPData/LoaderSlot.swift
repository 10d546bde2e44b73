import MRPEngine

/// One prepared batch in the queue. Its memory is allocated once; positions are written by the threads that claimed them.
final class LoaderSlot {
    /// capacity x views x channels x height x width.
    let images: UnsafeMutableBufferPointer<Float>
    /// capacity x views x height x width ids; empty without targets.
    let targets: UnsafeMutableBufferPointer<Int32>
    let labels: UnsafeMutableBufferPointer<Int32>
    let indices: UnsafeMutableBufferPointer<Int64>
    private let memories: [Memory]
    var bytes: Int { memories.reduce(0) { $0 + $1.bytes } }
    var epoch = 0
    var step = 0
    var slice = BatchSlice(whole: 0)
    var count: Int { slice.count }
    var claimed = 0
    /// Positions that were claimed and given back, because the call was stopped before they were filled.
    var returned: [Int] = []
    var hasWork: Bool { claimed < count || !returned.isEmpty }
    var done = 0
    /// The error of the lowest position that failed, so that the report does not depend on the threads.
    var failure: (position: Int, error: Error)?

    /// Memory for `capacity` samples. Errors: `.argument`, `.memory`.
    init(capacity: Int, valuesPerSample: Int, idsPerSample: Int) throws {
        func memory<Element>(_ perSample: Int, of _: Element.Type, _ purpose: String) throws -> Memory {
            let bytes = try checkedProduct([capacity, perSample, MemoryLayout<Element>.stride], "a batch of \(capacity)", code: .argument)
            return try Memory(bytes: bytes, for: "\(capacity) \(purpose)")
        }
        memories = [
            try memory(valuesPerSample, of: Float.self, "images of a batch"), try memory(idsPerSample, of: Int32.self, "pixel masks"),
            try memory(1, of: Int32.self, "labels"), try memory(1, of: Int64.self, "indices"),
        ]
        images = memories[0].typed(Float.self)
        targets = memories[1].typed(Int32.self)
        labels = memories[2].typed(Int32.self)
        indices = memories[3].typed(Int64.self)
    }

    /// Begins a batch of the images `order`; `slice.count` of them.
    func begin(epoch: Int, step: Int, _ slice: BatchSlice, order: some Sequence<Int64>) {
        (self.epoch, self.step, self.slice) = (epoch, step, slice)
        (claimed, done, failure) = (0, 0, nil)
        returned = []
        _ = indices.update(from: order)
    }

    /// Ends a batch before it began.
    func fail(epoch: Int, step: Int, _ error: Error) {
        begin(epoch: epoch, step: step, BatchSlice(whole: 0), order: [])
        failure = (0, error)
    }
}
