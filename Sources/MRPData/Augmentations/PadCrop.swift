import CMRPImage
import MRPEngine

/// Pads each side by mirroring (without repeating the edge pixel, as PyTorch's "reflect") and crops to the old size at a random place.
public struct PadCrop: AugmentationStep {
    public let name = "pad_crop"
    public var padding: Int

    public init(padding: Int) { self.padding = padding }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard padding >= 0, padding < Int(MI_MAX_SIDE) else {
            throw MRPError(.argument, "pad_crop padding \(padding) is outside 0 ... 65535")
        }
        if let input, padding >= min(input.height, input.width) {
            throw MRPError(.argument, "pad_crop padding \(padding) is not below the image's shorter side \(min(input.height, input.width))")
        }
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        let image = workspace.image
        _ = try outputSize(for: image.size, channels: Int(image.channels))
        let top = random.below(2 * padding + 1) - padding
        let left = random.below(2 * padding + 1) - padding
        try workspace.cropReflected(top: top, left: left, image.size)
    }
}
