import CMRPImage
import MRPEngine
import MRPOptions

/// Mixup (Zhang et al. 2018) and cutmix (Yun et al. 2019) of a batch, as timm's Mixup in its mode "batch": one draw for the whole batch, each
/// image is mixed with its mirror place in the batch. For any number of channels.
///
/// All slices of a global batch (`BatchSlice`) share the draw, a function of (seed, step). The mirror place is that within the slice, so that
/// no image travels between processes: a batch in several slices has other pairs than the same batch in one.
public struct BatchMixing: Sendable {
    /// Parameter of Beta(alpha, alpha); 0: none.
    public var mixup: Double
    public var cutmix: Double
    /// Share of the batches that are mixed.
    public var probability: Double
    /// Share of the mixed batches that are cut, if both are on.
    public var switchProbability: Double

    public init(mixup: Double, cutmix: Double, probability: Double = 1, switchProbability: Double = 0.5) {
        self.mixup = mixup
        self.cutmix = cutmix
        self.probability = probability
        self.switchProbability = switchProbability
    }

    /// Mixing that the options ask for; nil when they ask for none.
    public init?(_ options: Options) {
        guard options[DataOptions.mixup] > 0 || options[DataOptions.cutmix] > 0 else { return nil }
        self.init(
            mixup: options[DataOptions.mixup], cutmix: options[DataOptions.cutmix], probability: options[DataOptions.mixProbability],
            switchProbability: options[DataOptions.mixSwitchProbability])
    }

    /// The operation on one batch.
    public enum Draw: Equatable, Sendable {
        case none
        /// The share of the image itself.
        case mix(share: Double)
        /// The box that comes from the other image.
        case cut(top: Int, left: Int, size: ImageSize)
    }

    /// The draw of global batch number `step`, the same in all its slices: a function of (seed, step).
    public func draw(seed: UInt64, step: Int, size: ImageSize) -> Draw {
        var random = SampleRandom(seed: seed, purpose: .mixing, epoch: 0, sample: step, position: 0)
        guard mixup > 0 || cutmix > 0, Double(random.uniform()) < probability else { return .none }
        let cuts = cutmix > 0 && (mixup == 0 || Double(random.uniform()) < switchProbability)
        let share = random.symmetricBeta(cuts ? cutmix : mixup)
        guard cuts else { return .mix(share: share) }
        // A box of 1 - share of the area around a random centre, cut off at the edges.
        let ratio = (1 - share).squareRoot()
        let (height, width) = (Int(Double(size.height) * ratio), Int(Double(size.width) * ratio))
        let (row, column) = (random.below(size.height), random.below(size.width))
        let (top, left) = (max(row - height / 2, 0), max(column - width / 2, 0))
        let (bottom, right) = (min(row + (height + 1) / 2, size.height), min(column + (width + 1) / 2, size.width))
        return .cut(top: top, left: left, size: ImageSize(height: bottom - top, width: right - left))
    }

    /// Mixes count x channels x height x width values, the images of a slice, in place: place i with place count - 1 - i. Returns the share of each image that is its own.
    public static func apply(
        _ draw: Draw, _ images: UnsafeMutablePointer<Float>, count: Int, channels: Int, size: ImageSize
    ) -> Double {
        let values = channels * size.height * size.width
        func pairs(_ body: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void) {
            for i in 0..<count / 2 { body(images + i * values, images + (count - 1 - i) * values) }
        }
        switch draw {
        case .none: return 1
        case .mix(let share):
            pairs { mi_mix($0, $1, Int64(values), Float(share)) }
            return share
        case .cut(let top, let left, let box):
            pairs {
                mi_exchange(
                    $0, $1, Int64(channels), Int64(size.height), Int64(size.width), Int64(top), Int64(left), Int64(box.height),
                    Int64(box.width))
            }
            return 1 - Double(box.height * box.width) / Double(size.height * size.width)
        }
    }

    /// Writes targets of a slice, count x classes: share for the image's label and the rest for its partner's, both smoothed.
    public static func targets(
        _ labels: UnsafePointer<Int32>, count: Int, classes: Int, share: Double, smoothing: Double,
        into targets: UnsafeMutablePointer<Float>
    ) {
        let off = Float(smoothing / Double(classes)), on = Float(1 - smoothing) + off
        let own = Float(share), rest = Float(1 - share)
        for i in 0..<count {
            let row = targets + i * classes
            let (label, partner) = (Int(labels[i]), Int(labels[count - 1 - i]))
            for c in 0..<classes { row[c] = (c == label ? on : off) * own + (c == partner ? on : off) * rest }
        }
    }
}
