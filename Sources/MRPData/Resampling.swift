import CMRPImage
import MRPEngine

/// Filters of a resize, as Pillow's of these names (bicubic with a = -0.5, antialiased).
public enum Resampling: Int32, Sendable, CaseIterable {
    case nearest = 0
    case bilinear = 2
    case bicubic = 3
}

extension ImageWorkspace {
    /// Gray to three equal channels, or colour to gray (ITU-R 601 luma, as Pillow's "L").
    func convert(toChannels channels: Int) throws {
        var source = image
        guard source.channels != Int64(channels) else { return }
        var target = try makeImage(source.size, channels: channels, type: source.pixelType)
        mi_convert_channels(&source, &target)
        replace(target)
    }
}
