import MRPEngine

/// Mirrors left and right with the given probability.
public struct HorizontalFlip: AugmentationStep {
    public let name = "horizontal_flip"
    public var probability: Double

    public init(probability: Double = 0.5) { self.probability = probability }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard probability >= 0, probability <= 1 else {
            throw MRPError(.argument, "horizontal_flip probability \(probability) is outside [0, 1]")
        }
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        guard Double(random.uniform()) < probability else { return }
        try workspace.flipHorizontally()
    }
}
