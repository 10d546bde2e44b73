import CMRPImage
import MRPEngine

/// Windows of one image at its own scale, row by row: a dataset, so that a network sees them as it sees images. The image must stay valid.
public final class ImageWindows: ImageDataset {
    /// Place of a window; one that is larger than the image begins before it.
    public struct Place: Equatable, Sendable {
        public let top: Int
        public let left: Int
    }

    public let places: [Place]
    /// Windows of each row.
    public let columns: Int
    public let size: ImageSize
    public var count: Int { places.count }
    public var channels: Int { Int(image.channels) }
    public var imageSize: ImageSize? { size }
    public var pixelType: PixelType? { image.pixelType }
    public var classNames: [String] { [] }
    public var labels: UnsafeBufferPointer<Int32>? { nil }

    private let image: PixelView
    private let title: String

    /// Windows of `size`, of which neighbours have about `overlap` (0 ..< 1) of a side in common; the last ones end with the image.
    public init(_ image: PixelView, named title: String, size: ImageSize, overlap: Double) {
        (self.image, self.title, self.size) = (image, title, size)
        let tops = Self.starts(Int(image.height), size.height, overlap)
        let lefts = Self.starts(Int(image.width), size.width, overlap)
        columns = lefts.count
        places = tops.flatMap { top in lefts.map { Place(top: top, left: $0) } }
    }

    static func starts(_ side: Int, _ window: Int, _ overlap: Double) -> [Int] {
        guard side > window else { return [-((window - side) / 2)] }
        let stride = max(1, Int((Double(window) * (1 - overlap)).rounded()))
        return (0...(side - window + stride - 1) / stride).map { min($0 * stride, side - window) }
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        workspace.show(image)
        try workspace.window(top: places[index].top, left: places[index].left, size)
    }

    public func name(of index: Int) -> String { title }
}
