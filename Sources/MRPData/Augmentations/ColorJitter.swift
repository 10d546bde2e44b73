import MRPEngine

/// Brightness, contrast, saturation and hue in random order as torchvision's ColorJitter on Pillow images: the first three by factors uniform
/// in [max(0, 1 - strength), 1 + strength], the hue by a share of a turn uniform in [-hue, hue]. Those of strength 0 are left out.
public struct ColorJitter: AugmentationStep {
    public let name = "color_jitter"
    public var strength: Double
    /// At most half a turn; images of 3 channels only.
    public var hue: Double
    /// Share of the images that are changed at all.
    public var probability: Double

    public init(strength: Double, hue: Double = 0, probability: Double = 1) {
        self.strength = strength
        self.hue = hue
        self.probability = probability
    }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard strength >= 0, strength.isFinite else { throw MRPError(.argument, "color_jitter \(strength) is below 0") }
        guard (0...0.5).contains(hue) else { throw MRPError(.argument, "hue_jitter \(hue) is outside [0, 0.5]") }
        if strength > 0 { try PixelOperation.check(channels: channels, name) }
        if hue > 0 { try PixelOperation.hue(0).check(channels: channels, "hue_jitter") }
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        guard probability >= 1 || Double(random.uniform()) < probability else { return }
        var operations: [PixelOperation] = []
        if strength > 0 {
            let factors = (0..<3).map { _ in Double(random.uniform(max(0, 1 - strength), 1 + strength)) }
            operations = [.brightness(factors[0]), .contrast(factors[1]), .color(factors[2])]
        }
        if hue > 0 { operations.append(.hue(random.uniform(-hue, hue))) }
        operations.shuffle { random.below($0) }
        for operation in operations { try operation.apply(workspace, fill: [], strength > 0 ? name : "hue_jitter") }
    }
}
