import CMRPImage
import MRPEngine

/// An image that is replaced step by step, and the memory for it: a step reads the current one and writes the next. The memory is reused
/// from image to image.
final class ImageBuffers {
    /// Read-only, since it may lie in the dataset's own memory.
    private(set) var image = PixelView()
    private let memories = [GrowingMemory(), GrowingMemory(), GrowingMemory()]
    /// The memory that may hold the current image.
    private var current = 0
    private var kept: (image: PixelView, memory: Int)?

    /// A memory that holds neither the current image nor the kept one.
    private var free: Int { memories.indices.first { $0 != current && $0 != kept?.memory } ?? 0 }

    func release() {
        (image, kept) = (PixelView(), nil)
        for memory in memories { memory.release() }
    }

    func show(_ view: PixelView) { image = view }

    /// Packed memory of `size` for the next image; `type` is an element type of mi_image.h. Errors: `.memory`.
    func make(_ size: ImageSize, channels: Int, type: Int32) throws -> PixelView {
        let bytes = try checkedProduct(
            [size.height, size.width, channels, Int(mi_element_bytes(type))], "an image of \(size) x \(channels)", code: .argument)
        return PixelView(
            try memories[free].reserve(bytes, for: "an image of \(size) x \(channels)"), size, channels: channels, elementType: type)
    }

    /// Makes the image that `make` returned last the current one.
    func replace(_ made: PixelView) {
        let filled = free
        image = made
        current = filled
    }

    /// Replaces the image by one of `size`, of the same channels and type, which `body` fills. Errors: `.memory`.
    func replace(_ size: ImageSize, _ body: (_ from: inout PixelView, _ to: inout PixelView) throws -> Void) throws {
        var source = image
        var made = try make(size, channels: Int(source.channels), type: source.type)
        try body(&source, &made)
        replace(made)
    }

    /// Remembers the current image for `restore`, instead of the one before.
    func keep() { kept = (image, current) }

    func restore() {
        guard let kept else { return }
        (image, current) = kept
    }
}
