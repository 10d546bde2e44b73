import MRPEngine

/// Some images without their colours, as torchvision's RandomGrayscale on Pillow images; gray ones stay.
public struct RandomGray: AugmentationStep {
    public let name = "random_gray"
    public var probability: Double

    public init(probability: Double) { self.probability = probability }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard (0...1).contains(probability) else { throw MRPError(.argument, "random_gray \(probability) is outside [0, 1]") }
        try PixelOperation.check(channels: channels, name)
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        guard Double(random.uniform()) < probability else { return }
        try PixelOperation.color(0).apply(workspace, fill: [], name)
    }
}
