/// The part of a global batch that one process works on: places first ..< first + count of `total`. Random numbers count places in the
/// global batch, so that slices together get what one process with the whole batch gets.
public struct BatchSlice: Equatable, Sendable {
    public let first: Int
    public let count: Int
    public let total: Int

    /// Errors: `.argument` when the places are not places of the batch.
    public init(first: Int, count: Int, total: Int) throws {
        guard first >= 0, count >= 0, total >= count, first <= total - count else {
            throw MRPError(.argument, "\(count) images from place \(first) on are not a part of a batch of \(total)")
        }
        (self.first, self.count, self.total) = (first, count, total)
    }

    /// The whole batch.
    public init(whole total: Int) { (first, count, self.total) = (0, total, total) }

    public var places: Range<Int> { first..<first + count }

    /// The same part of a batch that ends after `total` places: shorter, or empty, when it ends early.
    public func cut(to total: Int) -> BatchSlice {
        let begin = min(first, total)
        return BatchSlice(begin: begin, end: min(first + count, total), total: total)
    }

    private init(begin: Int, end: Int, total: Int) { (first, count, self.total) = (begin, end - begin, total) }
}
