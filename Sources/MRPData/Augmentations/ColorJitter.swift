import MRPEngine

/// Brightness, contrast and saturation in random order, each by a factor uniform in [max(0, 1 - strength), 1 + strength], as torchvision's
/// ColorJitter on Pillow images.
public struct ColorJitter: AugmentationStep {
    public let name = "color_jitter"
    public var strength: Double

    public init(strength: Double) { self.strength = strength }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard strength >= 0, strength.isFinite else { throw MRPError(.argument, "color_jitter \(strength) is below 0") }
        try PixelOperation.check(channels: channels, name)
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        let factors = (0..<3).map { _ in random.uniform(max(0, 1 - strength), 1 + strength) }
        var order = [0, 1, 2]
        for i in [2, 1] { order.swapAt(i, random.below(i + 1)) }
        for index in order {
            let operation: PixelOperation =
                index == 0 ? .brightness(factors[0]) : index == 1 ? .contrast(factors[1]) : .color(factors[2])
            try operation.apply(workspace, fill: [], name)
        }
    }
}
