import CMRPImage
import MRPEngine

/// The scratch memory of one thread that prepares images: the current image, and beside it the pixel mask of a dataset with targets.
///
/// A step that moves pixels does so by `crop`, `cropReflected`, `flipHorizontally`, `resize` or `transform`, which move both. A step that
/// changes values writes into `makeImage` and then calls `replace`.
public final class ImageWorkspace {
    /// Read-only, since it may lie in the dataset's own memory.
    public var image: PixelView { pixels.image }
    /// The ids of the image's pixels; nil when the dataset has none.
    public var target: PixelView? { hasTarget ? ids.image : nil }
    /// The id of pixels that come from outside of the image.
    public private(set) var targetFill: Int32 = 0

    let pixels = ImageBuffers()
    let ids = ImageBuffers()
    private(set) var hasTarget = false
    private let resampling = GrowingMemory()
    let file = GrowingMemory()

    /// What decoding may take, and the channels that are wanted of an image; set by the dataset that loads one.
    var budget: DecodeBudget?
    var wantedChannels = 0
    /// Bytes of the budget that this workspace holds.
    var taken = 0

    public init() {}

    deinit { finish() }

    func trim() {
        pixels.release()
        ids.release()
        resampling.release()
        file.release()
    }

    /// Makes `view` the current image without copying; it must stay valid until the next image is loaded.
    public func show(_ view: PixelView) { pixels.show(view) }

    /// Makes an image of `size` without pixels the current one, where its mask alone is wanted.
    public func show(_ size: ImageSize) {
        var view = PixelView()
        (view.height, view.width) = (Int64(size.height), Int64(size.width))
        pixels.show(view)
    }

    /// Packed memory for an image, apart from the current one. Errors: `.memory`.
    public func makeImage(_ size: ImageSize, channels: Int, type: PixelType) throws -> PixelView {
        try pixels.make(size, channels: channels, type: type.rawValue)
    }

    /// Makes the image that `makeImage` returned last the current one.
    public func replace(_ made: PixelView) { pixels.replace(made) }

    /// Makes `view` the target of the current image without copying; it must stay valid until the next image is loaded. Pixels that come
    /// from outside of the image get the id `fill`.
    public func showTarget(_ view: PixelView, fill: Int32 = 0) {
        ids.show(view)
        (hasTarget, targetFill) = (true, fill)
    }

    /// Packed memory for a target, apart from the current one. Errors: `.memory`.
    public func makeTarget(_ size: ImageSize, type: TargetType) throws -> PixelView {
        try ids.make(size, channels: 1, type: type.rawValue)
    }

    func makeTarget(_ size: ImageSize, channels: Int, elementType: Int32) throws -> PixelView {
        try ids.make(size, channels: channels, type: elementType)
    }

    /// Makes what `makeTarget` returned last the target of the current image.
    public func replaceTarget(_ made: PixelView, fill: Int32 = 0) {
        ids.replace(made)
        (hasTarget, targetFill) = (true, fill)
    }

    func removeTarget() { hasTarget = false }

    /// Remembers image and target as they are, so that each view of a sample begins with them.
    func keep() {
        pixels.keep()
        ids.keep()
    }

    func restore() {
        pixels.restore()
        ids.restore()
    }

    func resamplingScratch(_ bytes: Int) throws -> UnsafeMutableRawPointer { try resampling.reserve(bytes, for: "resizing an image") }
}
