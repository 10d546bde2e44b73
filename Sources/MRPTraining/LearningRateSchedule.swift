#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Linear warm-up from 0, then half a cosine to `minimum`, per step (He et al. 2021; `util/lr_sched.py` of the reference):
/// epoch e = step / stepsPerEpoch;  e < warmup: peak e / warmup;  else minimum + (peak - minimum) (1 + cos(pi p)) / 2 with
/// p = (e - warmup) / (epochs - warmup).
public struct LearningRateSchedule: Equatable, Sendable {
    public let peak: Double
    public let minimum: Double
    public let warmupEpochs: Double
    public let epochs: Double
    public let stepsPerEpoch: Int

    public init(peak: Double, minimum: Double, warmupEpochs: Double, epochs: Double, stepsPerEpoch: Int) {
        self.peak = peak
        self.minimum = minimum
        self.warmupEpochs = warmupEpochs
        self.epochs = epochs
        self.stepsPerEpoch = stepsPerEpoch
    }

    /// The rate of step 0, 1, ...
    public func rate(step: Int) -> Double {
        let epoch = Double(step) / Double(max(stepsPerEpoch, 1))
        if epoch < warmupEpochs { return peak * epoch / warmupEpochs }
        let progress = min((epoch - warmupEpochs) / max(epochs - warmupEpochs, .leastNormalMagnitude), 1)
        return minimum + (peak - minimum) * 0.5 * (1 + cos(.pi * progress))
    }
}
