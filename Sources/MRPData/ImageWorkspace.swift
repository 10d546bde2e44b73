import CMRPImage
import MRPEngine

/// The scratch memory of one thread that prepares images. `image` is the current image; each augmentation step either narrows the view or
/// writes into `makeImage` and then calls `replace`. The memory is reused from image to image.
public final class ImageWorkspace {
    /// The current image; read-only, since it may lie in the dataset's own memory.
    public private(set) var image = PixelView()
    private let buffers = (GrowingMemory(), GrowingMemory())
    private var usesFirst = false
    private let resampling = GrowingMemory()
    let file = GrowingMemory()

    public init() {}

    /// Makes `view` the current image without copying; it must stay valid until the next image is loaded.
    public func show(_ view: PixelView) { image = view }

    /// Packed memory for an image, apart from the current one. Errors: `.memory`.
    public func makeImage(_ size: ImageSize, channels: Int, type: PixelType) throws -> PixelView {
        let buffer = usesFirst ? buffers.1 : buffers.0
        let bytes = try checkedProduct(
            [size.height, size.width, channels, type.bytes], "an image of \(size) x \(channels)", code: .argument)
        return PixelView(
            try buffer.reserve(bytes, for: "an image of \(size) x \(channels)"), size, channels: channels, type: type)
    }

    /// Makes the image that `makeImage` returned last the current one.
    public func replace(_ made: PixelView) {
        image = made
        usesFirst.toggle()
    }

    func resamplingScratch(_ bytes: Int) throws -> UnsafeMutableRawPointer { try resampling.reserve(bytes, for: "resizing an image") }
}
