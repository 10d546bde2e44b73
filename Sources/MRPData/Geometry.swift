import CMRPImage
import MRPEngine

/// Moves of pixels. The target of a dataset with masks moves with its image: its pixels are copied, never mixed (nearest neighbour, by the
/// centres of pixels).
extension ImageWorkspace {
    /// Narrows to the part of `size` at (top, left); no pixel is copied. Errors: `.argument` when it does not lie inside the image.
    public func crop(top: Int, left: Int, _ size: ImageSize) throws {
        try checkTarget()
        guard top >= 0, left >= 0, top + size.height <= Int(image.height), left + size.width <= Int(image.width) else {
            throw MRPError(.argument, "a crop of \(size) at (\(top), \(left)) is not inside the image of \(image.size)")
        }
        for buffers in moving { buffers.show(buffers.image.cropped(top: top, left: left, size)) }
    }

    /// The window of `size` at (top, left), which may reach past the edges by less than the side's length: there the image is mirrored,
    /// without repeating the edge pixel. Errors: `.memory`.
    public func cropReflected(top: Int, left: Int, _ size: ImageSize) throws {
        try checkTarget()
        for buffers in moving { try buffers.replace(size) { mi_crop_reflect(&$0, Int64(top), Int64(left), &$1) } }
    }

    /// The window of `size` at (top, left): no pixel is copied inside of the image; where it reaches past the edges the image is mirrored.
    /// Errors: `.argument` when the image is too small for that, `.memory`.
    public func window(top: Int, left: Int, _ size: ImageSize) throws {
        let own = image.size
        if top >= 0, left >= 0, top + size.height <= own.height, left + size.width <= own.width {
            return try crop(top: top, left: left, size)
        }
        guard -top < own.height, -left < own.width, top + size.height < 2 * own.height, left + size.width < 2 * own.width else {
            throw MRPError(
                .argument, "an image of \(own) is too small for a window of \(size), which may reach past its edges by less than its sides")
        }
        try cropReflected(top: top, left: left, size)
    }

    /// Mirrors left and right. Errors: `.memory`.
    public func flipHorizontally() throws {
        try checkTarget()
        for buffers in moving { try buffers.replace(buffers.image.size) { mi_flip_horizontal(&$0, &$1) } }
    }

    /// Resizes. `box` is the part that fills the result (pixels, fractions allowed; nil: all), as Pillow's `resize(box=)`.
    /// Errors: `.argument` when the box does not lie inside the image, `.memory`.
    public func resize(
        to size: ImageSize, _ resampling: Resampling = .bicubic, box: (left: Float, top: Float, right: Float, bottom: Float)? = nil
    ) throws {
        try size.check("resized image")
        try checkTarget()
        let part = mi_box(
            left: box?.left ?? 0, top: box?.top ?? 0, right: box?.right ?? Float(image.width), bottom: box?.bottom ?? Float(image.height))
        guard part.left >= 0, part.top >= 0, part.right <= Float(image.width), part.bottom <= Float(image.height),
            part.left < part.right, part.top < part.bottom
        else {
            throw MRPError(
                .argument, "box (\(part.left), \(part.top), \(part.right), \(part.bottom)) is not inside the image of \(image.size)")
        }
        if box == nil, image.size == size { return }
        for buffers in moving {
            let filter = (buffers === pixels ? resampling : .nearest).rawValue
            try buffers.replace(size) {
                let scratch = try resamplingScratch(Int(mi_resample_scratch(&$0, part, filter, &$1)))
                mi_resample(&$0, part, filter, &$1, scratch)
            }
        }
    }

    /// Pillow's `Image.transform` with an affine map of output to input (`mi_affine`), bicubic. The image is uint8; `fill` is the colour of
    /// what comes from outside of it, one value per channel. Errors: `.memory`.
    func transform(_ map: [Double], fill: [UInt8]) throws {
        try checkTarget()
        let targetFill = targetFill
        for buffers in moving {
            try buffers.replace(buffers.image.size) {
                if buffers === pixels { mi_affine(&$0, map, fill, &$1) } else { mi_affine_nearest(&$0, map, targetFill, &$1) }
            }
        }
    }

    private var moving: [ImageBuffers] { hasTarget ? [pixels, ids] : [pixels] }

    /// A target that does not lie on its image must not move with it.
    private func checkTarget() throws {
        guard let target, target.size != image.size else { return }
        throw MRPError(.argument, "the pixel mask is \(target.size), the image \(image.size)")
    }
}
