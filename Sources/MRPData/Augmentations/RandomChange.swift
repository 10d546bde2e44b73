import MRPEngine

/// A change that only some images get.
public struct RandomChange: AugmentationStep {
    /// Kinds of change; each stands for an option of the same name.
    public enum Kind: String, Sendable {
        /// Without colours, as torchvision's RandomGrayscale on Pillow images; gray ones stay.
        case grayscale
        /// Gaussian blur of a deviation uniform in `deviations` pixels, as the augmentation of SimCLR, MoCo v2 and BYOL does it with Pillow.
        case blur
        /// Values from 128 on inverted, as ImageOps.solarize (BYOL).
        case solarize
    }

    public var kind: Kind
    /// Share of the images that are changed.
    public var probability: Double

    /// Of `blur`, in pixels: those of the field.
    public static let deviations = 0.1...2.0

    public init(_ kind: Kind, probability: Double) { (self.kind, self.probability) = (kind, probability) }

    public var name: String { kind.rawValue }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard (0...1).contains(probability) else { throw MRPError(.argument, "\(name) \(probability) is outside [0, 1]") }
        if probability > 0 { try PixelOperation.check(channels: channels, name) }
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        guard Double(random.uniform()) < probability else { return }
        let operation: PixelOperation =
            switch kind {
            case .grayscale: .color(0)
            case .blur: .blur(deviation: random.uniform(Self.deviations.lowerBound, Self.deviations.upperBound))
            case .solarize: .solarize(threshold: 128)
            }
        try operation.apply(workspace, fill: [], name)
    }
}
