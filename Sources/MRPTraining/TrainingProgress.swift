/// Place of a run, and its numbers.
public struct TrainingProgress: Sendable {
    public let phase: String
    /// Steps done, and in all.
    public internal(set) var step = 0
    public internal(set) var steps: Int
    /// Epochs done, with fraction.
    public internal(set) var epoch = 0.0
    /// Loss of the last step, and its mean over the current epoch so far.
    public internal(set) var loss = Double.nan
    public internal(set) var meanLoss = Double.nan
    public internal(set) var learningRate = 0.0
    public internal(set) var seconds = 0.0
    public internal(set) var imagesPerSecond = 0.0
    /// Last measurements on held-out images, and events of the run beyond its steps; see `measureNames`.
    public internal(set) var measures: [String: Double] = [:]

    public init(phase: String, steps: Int) {
        self.phase = phase
        self.steps = steps
    }

    /// Done share of the run, 0 ... 1.
    public var fraction: Double { steps == 0 ? 1 : Double(step) / Double(steps) }

    /// Estimated from the speed so far; NaN before the first step.
    public var secondsLeft: Double { step == 0 ? .nan : seconds / Double(step) * Double(steps - step) }

    public static let names = [
        "loss", "mean_loss", "learning_rate", "images_per_second", "seconds", "seconds_left", "epoch", "step", "steps",
    ]

    /// Measured on held-out images: accuracies and loss of a classifier, mean intersection over union and accuracy of
    /// pixels, measures of instances, accuracies of nearest neighbours and of a linear probe on frozen
    /// features, reconstruction loss; the best main measure and its step; how often the run was rolled back; images left out; in pretraining
    /// the spread of the last batch's features and the number of directions that they vary along (`FeatureMetrics`).
    public static let measureNames = [
        "top1", "top5", "validation_loss", "knn_top1", "probe_top1", "reconstruction_loss", "best", "best_step", "rollbacks",
        "unreadable_images", "feature_std", "feature_rank", "miou", "pixel_accuracy",
        "ar_10", "ar_100", "ap50", "recall", "false_positives",
    ]

    /// A value by name; nil for an unknown one.
    public func value(_ name: String) -> Double? {
        switch name {
        case "loss": return loss
        case "mean_loss": return meanLoss
        case "learning_rate": return learningRate
        case "images_per_second": return imagesPerSecond
        case "seconds": return seconds
        case "seconds_left": return secondsLeft
        case "epoch": return epoch
        case "step": return Double(step)
        case "steps": return Double(steps)
        default: return measures[name]
        }
    }

    /// The values of a step as a log has them; `measured`: with what was measured on held-out images.
    func scalars(measured: Bool) -> [(name: String, value: Double)] {
        let names = ["loss", "mean_loss", "learning_rate", "images_per_second", "seconds", "epoch"] + (measured ? Self.measureNames : [])
        return names.compactMap { name in value(name).map { (name, $0) } }
    }
}
