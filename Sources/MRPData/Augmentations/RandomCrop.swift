import MRPEngine

/// A window of the image at a random place, at the image's own scale. Where the image is smaller it lies in the middle and is mirrored at its
/// edges.
public struct RandomCrop: AugmentationStep {
    public let name = "random_crop"
    public var size: ImageSize

    public init(size: ImageSize) { self.size = size }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try size.check(name)
        return size
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        let image = workspace.image.size
        func place(_ side: Int, _ window: Int) -> Int { side > window ? random.below(side - window + 1) : -((window - side) / 2) }
        let top = place(image.height, size.height)
        try workspace.window(top: top, left: place(image.width, size.width), size)
    }
}
