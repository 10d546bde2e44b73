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

/// The shorter side to a given length, the longer one in proportion (rounded down, as torchvision's Resize).
public struct ResizeShorterSide: AugmentationStep {
    public let name = "resize_shorter_side"
    public var side: Int
    public var resampling: Resampling

    public init(to side: Int, _ resampling: Resampling = .bicubic) {
        self.side = side
        self.resampling = resampling
    }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try ImageSize(height: side, width: side).check("resize_shorter_side")
        guard let input else { return nil }
        let size =
            input.height <= input.width
            ? ImageSize(height: side, width: side * input.width / input.height)
            : ImageSize(height: side * input.height / input.width, width: side)
        try size.check("resized image")
        return size
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        guard let size = try outputSize(for: workspace.image.size, channels: Int(workspace.image.channels)) else { return }
        try workspace.resize(to: size, resampling)
    }
}
