/// Places `first` ..< `first` + `count` of a global batch of `total` images: what one process, or one part of a step, works on. Random numbers
/// count places in the global batch, so slices together draw what the whole would.
public struct BatchSlice: Equatable, Sendable {
    public let first: Int
    public let count: Int
    public let total: Int

    public init(first: Int, count: Int, total: Int) {
        self.first = first
        self.count = count
        self.total = total
    }

    /// The whole batch.
    public init(_ count: Int) { self.init(first: 0, count: count, total: count) }
}
