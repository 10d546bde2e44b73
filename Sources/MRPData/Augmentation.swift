import CMRPImage
import MRPEngine

/// One step between a stored image and a network's input. A new step is one file in Augmentations/.
///
/// A step that moves pixels does so by the workspace's `crop`, `cropReflected`, `flipHorizontally`, `resize` or `transform`: they move the
/// pixel mask of a dataset with targets along.
public protocol AugmentationStep: Sendable {
    /// As it appears in options and errors: `random_resized_crop`.
    var name: String { get }
    /// The size that comes out for images of size `input` (nil: of different sizes). Errors: `.argument` when the step cannot take them.
    func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize?
    /// Replaces the workspace's image.
    func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws
}

/// One step on the values that the network gets, after normalisation.
public protocol NormalizedStep: Sendable {
    /// As it appears in errors.
    var name: String { get }
    /// Changes channels x height x width values in place.
    func apply(
        _ planes: UnsafeMutablePointer<Float>, channels: Int, size: ImageSize, seed: UInt64, epoch: Int, sample: Int, view: Int,
        _ random: inout SampleRandom)
}

/// The steps that each image goes through, in order. The random numbers of a step depend on seed, epoch, image, view and the step's position
/// alone.
public struct Augmentation: Sendable {
    public var steps: [any AugmentationStep]
    /// Steps after the normalisation.
    public var finishing: [any NormalizedStep]

    public init(_ steps: [any AugmentationStep] = [], finishing: [any NormalizedStep] = []) {
        self.steps = steps
        self.finishing = finishing
    }

    /// Images as they are.
    public static let none = Augmentation()

    /// The small-image recipe: reflect-pad by `padding`, crop to the old size at random, flip with probability 1/2.
    public static func padCropFlip(padding: Int = 4) -> Augmentation { Augmentation([PadCrop(padding: padding), HorizontalFlip()]) }

    /// Random resized crop and flip (He et al. 2021 use scale 0.2 ... 1 and bicubic for pretraining).
    public static func randomResizedCropFlip(
        size: ImageSize, scale: ClosedRange<Double> = 0.2...1, ratio: ClosedRange<Double> = 3.0 / 4...4.0 / 3
    ) -> Augmentation {
        Augmentation([RandomResizedCrop(size: size, scale: scale, ratio: ratio), HorizontalFlip()])
    }

    /// A window at the image's own scale at random, and flip.
    public static func randomCropFlip(size: ImageSize) -> Augmentation { Augmentation([RandomCrop(size: size), HorizontalFlip()]) }

    /// Evaluation: resized (bicubic) until it covers `resize`, then the centre of `size`. The usual resize is size / part.
    public static func centerCrop(size: ImageSize, resize: ImageSize? = nil, part: Double = 0.875) -> Augmentation {
        func larger(_ side: Int) -> Int { Int((Double(side) / part).rounded()) }
        return Augmentation([
            ResizeToCover(resize ?? ImageSize(height: larger(size.height), width: larger(size.width))), CenterCrop(size: size),
        ])
    }

    /// Every image to `size`, whatever its shape.
    public static func resize(size: ImageSize) -> Augmentation { Augmentation([Resize(size: size)]) }

    /// The size that leaves the last step. Errors: `.argument` when a step cannot take what reaches it.
    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard steps.count < 256 else { throw MRPError(.argument, "\(steps.count) augmentation steps are above 255") }
        return try steps.reduce(input) { try $1.outputSize(for: $0, channels: channels) }
    }

    /// Applies every step to the workspace's image and its target.
    public func apply(_ workspace: ImageWorkspace, seed: UInt64, epoch: Int, sample: Int, view: Int = 0) throws {
        for (position, step) in steps.enumerated() {
            var random = SampleRandom(seed: seed, epoch: epoch, sample: sample, position: position, view: view)
            try step.apply(workspace, &random)
        }
    }

    /// Applies the steps after the normalisation.
    func finish(
        _ planes: UnsafeMutablePointer<Float>, channels: Int, size: ImageSize, seed: UInt64, epoch: Int, sample: Int, view: Int
    ) {
        for (position, step) in finishing.enumerated() {
            var random = SampleRandom(seed: seed, epoch: epoch, sample: sample, position: 255 - position, view: view)
            step.apply(planes, channels: channels, size: size, seed: seed, epoch: epoch, sample: sample, view: view, &random)
        }
    }
}
