import MRPEngine

/// Neighbouring images of another dataset, without labels.
public final class RangeDataset: ImageDataset {
    private let base: ImageDataset
    private let first: Int
    public let count: Int
    public var channels: Int { base.channels }
    public var imageSize: ImageSize? { base.imageSize }
    public var isPointCloud: Bool { base.isPointCloud }
    public var classNames: [String] { [] }
    public var labels: UnsafeBufferPointer<Int32>? { nil }

    /// The images first ..< first + count, which the base has.
    public init(_ base: ImageDataset, first: Int, count: Int) { (self.base, self.first, self.count) = (base, first, count) }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws { try base.load(first + index, into: workspace) }

    public func name(of index: Int) -> String { base.name(of: first + index) }
}
