import Glibc
import MRPEngine

/// A random part of the image, resized (Szegedy et al. 2015, "Going deeper with convolutions", as torchvision draws it): area uniform in
/// `scale` of the image's, log aspect ratio (width / height) uniform in `ratio`, ten attempts, then the largest centre crop within `ratio`.
public struct RandomResizedCrop: AugmentationStep {
    public let name = "random_resized_crop"
    public var size: ImageSize
    public var scale: ClosedRange<Double>
    public var ratio: ClosedRange<Double>
    public var resampling: Resampling

    public init(
        size: ImageSize, scale: ClosedRange<Double> = 0.08...1, ratio: ClosedRange<Double> = 3.0 / 4...4.0 / 3,
        _ resampling: Resampling = .bicubic
    ) {
        self.size = size
        self.scale = scale
        self.ratio = ratio
        self.resampling = resampling
    }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try size.check("random_resized_crop")
        guard scale.lowerBound > 0, scale.upperBound <= 1 else {
            throw MRPError(.argument, "random_resized_crop scale \(scale.lowerBound) ... \(scale.upperBound) is outside (0, 1]")
        }
        guard ratio.lowerBound > 0, ratio.upperBound.isFinite else {
            throw MRPError(.argument, "random_resized_crop ratio \(ratio.lowerBound) ... \(ratio.upperBound) is not above 0")
        }
        return size
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        let part = window(in: workspace.image.size, &random)
        try workspace.crop(top: part.top, left: part.left, part.size)
        try workspace.resize(to: size, resampling)
    }

    /// The part that is taken from an image of `input`.
    public func window(in input: ImageSize, _ random: inout SampleRandom) -> (top: Int, left: Int, size: ImageSize) {
        let area = Double(input.height * input.width)
        for _ in 0..<10 {
            let target = area * random.uniform(scale.lowerBound, scale.upperBound)
            let aspect = exp(random.uniform(log(ratio.lowerBound), log(ratio.upperBound)))
            let width = (target * aspect).squareRoot().rounded(.toNearestOrEven)
            let height = (target / aspect).squareRoot().rounded(.toNearestOrEven)
            if width >= 1, height >= 1, width <= Double(input.width), height <= Double(input.height) {
                let part = ImageSize(height: Int(height), width: Int(width))
                let top = random.below(input.height - part.height + 1)
                return (top, random.below(input.width - part.width + 1), part)
            }
        }
        var part = input
        let aspect = Double(input.width) / Double(input.height)
        if aspect < ratio.lowerBound {
            part.height = min(input.height, max(1, Int((Double(input.width) / ratio.lowerBound).rounded(.toNearestOrEven))))
        } else if aspect > ratio.upperBound {
            part.width = min(input.width, max(1, Int((Double(input.height) * ratio.upperBound).rounded(.toNearestOrEven))))
        }
        return ((input.height - part.height) / 2, (input.width - part.width) / 2, part)
    }
}
