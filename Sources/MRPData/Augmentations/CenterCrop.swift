import MRPEngine

/// The middle of the image, as torchvision places it: offsets round((side - crop) / 2), halves to even. No pixel is copied.
public struct CenterCrop: AugmentationStep {
    public let name = "center_crop"
    public var size: ImageSize

    public init(size: ImageSize) { self.size = size }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try size.check("center_crop")
        if let input, input.height < size.height || input.width < size.width {
            throw MRPError(.argument, "center_crop \(size) is larger than the image of \(input)")
        }
        return size
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        let image = workspace.image
        _ = try outputSize(for: image.size, channels: Int(image.channels))
        let top = (Double(Int(image.height) - size.height) / 2).rounded(.toNearestOrEven)
        let left = (Double(Int(image.width) - size.width) / 2).rounded(.toNearestOrEven)
        try workspace.crop(top: Int(top), left: Int(left), size)
    }
}
