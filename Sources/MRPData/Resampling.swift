import CMRPImage
import MRPEngine

/// How a resized image is computed; as Pillow's filters of these names (bicubic with a = -0.5, antialiased).
public enum Resampling: Int32, Sendable, CaseIterable {
    case nearest = 0
    case bilinear = 2
    case bicubic = 3
}

extension ImageWorkspace {
    /// Resizes the current image. `box` is the part of it that fills the result (pixels, fractions allowed; nil: all), as Pillow's
    /// `resize(box=)`. Errors: `.argument` when the box does not lie inside the image, `.memory`.
    public func resize(
        to size: ImageSize, _ resampling: Resampling = .bicubic, box: (left: Float, top: Float, right: Float, bottom: Float)? = nil
    ) throws {
        try size.check("resized image")
        var source = image
        let part = mi_box(
            left: box?.left ?? 0, top: box?.top ?? 0, right: box?.right ?? Float(source.width), bottom: box?.bottom ?? Float(source.height))
        guard part.left >= 0, part.top >= 0, part.right <= Float(source.width), part.bottom <= Float(source.height),
            part.left < part.right, part.top < part.bottom
        else {
            throw MRPError(
                .argument, "box (\(part.left), \(part.top), \(part.right), \(part.bottom)) is not inside the image of \(source.size)")
        }
        if box == nil, source.size == size { return }
        var target = try makeImage(size, channels: Int(source.channels), type: source.pixelType)
        let scratch = try resamplingScratch(Int(mi_resample_scratch(&source, part, resampling.rawValue, &target)))
        mi_resample(&source, part, resampling.rawValue, &target, scratch)
        replace(target)
    }

    /// Gray to three equal channels, or colour to gray (ITU-R 601 luma, as Pillow's "L").
    func convert(toChannels channels: Int) throws {
        var source = image
        guard source.channels != Int64(channels) else { return }
        var target = try makeImage(source.size, channels: channels, type: source.pixelType)
        mi_convert_channels(&source, &target)
        replace(target)
    }
}
