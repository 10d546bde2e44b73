import MRPEngine

/// Every image to one size, whatever its shape.
public struct Resize: AugmentationStep {
    public let name = "resize"
    public var size: ImageSize
    public var resampling: Resampling

    public init(size: ImageSize, _ resampling: Resampling = .bicubic) {
        self.size = size
        self.resampling = resampling
    }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try size.check("resize")
        return size
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws { try workspace.resize(to: size, resampling) }
}

/// As small as an image can be, in its own proportions, that covers `size` (the longer side rounded down, as torchvision's Resize):
/// with a square, the shorter side gets its length.
public struct ResizeToCover: AugmentationStep {
    public let name = "resize_to_cover"
    public var size: ImageSize
    public var resampling: Resampling

    public init(_ size: ImageSize, _ resampling: Resampling = .bicubic) {
        self.size = size
        self.resampling = resampling
    }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try size.check("resize_to_cover")
        guard let input else { return nil }
        let covering =
            size.height * input.width >= size.width * input.height
            ? ImageSize(height: size.height, width: size.height * input.width / input.height)
            : ImageSize(height: size.width * input.height / input.width, width: size.width)
        try covering.check("resized image")
        return covering
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        guard let size = try outputSize(for: workspace.image.size, channels: Int(workspace.image.channels)) else { return }
        try workspace.resize(to: size, resampling)
    }
}
