import CMRPKernels
import Glibc
import MRPEngine

/// Erases a rectangle of the normalised image (Zhong et al. 2020) as timm does: area uniform in 0.02 ... 1/3 of the image's, log aspect ratio
/// uniform in 0.3 ... 1/0.3, ten attempts. For any number of channels.
public struct RandomErasing: NormalizedStep {
    public enum Mode: String, CaseIterable, Sendable {
        /// A normal random number for each value.
        case pixel
        /// 0, the mean colour.
        case const
    }

    public let name = "random_erasing"
    public var probability: Double
    public var mode: Mode

    public init(probability: Double, mode: Mode = .pixel) {
        self.probability = probability
        self.mode = mode
    }

    public func apply(
        _ planes: UnsafeMutablePointer<Float>, channels: Int, size: ImageSize, seed: UInt64, epoch: Int, sample: Int, view: Int,
        _ random: inout SampleRandom
    ) {
        guard let box = box(in: size, &random) else { return }
        let count = box.size.height * box.size.width
        let stream = RandomStream(seed: seed, .erasing, substream: UInt32(truncatingIfNeeded: view)).stream
        for channel in 0..<channels {
            for row in 0..<box.size.height {
                let target = planes + (channel * size.height + box.top + row) * size.width + box.left
                switch mode {
                case .const: target.update(repeating: 0, count: box.size.width)
                case .pixel:
                    // Each row begins at a counter of its own, so that the numbers do not depend on how they are made.
                    let first = UInt64(truncatingIfNeeded: sample) << 32 + UInt64((channel * count + row * box.size.width) * 4)
                    mk_random_normal(seed, stream, UInt32(truncatingIfNeeded: epoch), first, Int64(box.size.width), target)
                }
            }
        }
    }

    /// The rectangle that is erased in an image of `size`; nil: none.
    public func box(in size: ImageSize, _ random: inout SampleRandom) -> (top: Int, left: Int, size: ImageSize)? {
        guard Double(random.uniform()) < probability else { return nil }
        let area = Double(size.height * size.width)
        for _ in 0..<10 {
            let target = area * random.uniform(0.02, 1.0 / 3)
            let aspect = exp(random.uniform(log(0.3), log(1 / 0.3)))
            let height = Int((target * aspect).squareRoot().rounded(.toNearestOrEven))
            let width = Int((target / aspect).squareRoot().rounded(.toNearestOrEven))
            guard height < size.height, width < size.width else { continue }
            let top = random.below(size.height - height + 1)
            return (top, random.below(size.width - width + 1), ImageSize(height: height, width: width))
        }
        return nil
    }
}
