import Glibc

/// Linear warm-up from 0 to the peak, then a course, per step. With e = step / stepsPerEpoch and w the warm-up: e < w: peak e / w; else
/// - cosine (He et al. 2021; `util/lr_sched.py` of the reference): minimum + (peak - minimum) (1 + cos(pi (e - w) / (epochs - w))) / 2;
/// - constant: peak;
/// - multistep: peak factor^(number of milestones up to e), not below the minimum.
public struct LearningRateSchedule: Equatable, Sendable {
    public enum Course: Equatable, Sendable {
        case cosine, constant
        /// Epochs at which the rate is multiplied by `factor`.
        case multistep(milestones: [Double], factor: Double)
    }

    public let peak: Double
    public let minimum: Double
    public let warmupEpochs: Double
    public let epochs: Double
    public let stepsPerEpoch: Int
    public let course: Course

    public init(peak: Double, minimum: Double, warmupEpochs: Double, epochs: Double, stepsPerEpoch: Int, course: Course = .cosine) {
        self.peak = peak
        self.minimum = minimum
        self.warmupEpochs = warmupEpochs
        self.epochs = epochs
        self.stepsPerEpoch = stepsPerEpoch
        self.course = course
    }

    /// The rate of step 0, 1, ...
    public func rate(step: Int) -> Double {
        let epoch = Double(step) / Double(max(stepsPerEpoch, 1))
        if epoch < warmupEpochs { return peak * epoch / warmupEpochs }
        switch course {
        case .constant: return peak
        case .multistep(let milestones, let factor):
            return max(minimum, milestones.reduce(peak) { $1 <= epoch ? $0 * factor : $0 })
        case .cosine:
            let progress = min((epoch - warmupEpochs) / max(epochs - warmupEpochs, .leastNormalMagnitude), 1)
            return minimum + (peak - minimum) * 0.5 * (1 + cos(.pi * progress))
        }
    }
}
