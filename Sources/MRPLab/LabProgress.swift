import MRPEngine

/// Place of a run; passed to the progress callback after every step, on the calling thread.
public struct LabProgress: Sendable {
    /// The seed being run, counted from 0, and the number of seeds.
    public internal(set) var seedIndex = 0
    public internal(set) var seeds = 1
    /// For example `pretraining`, `fine-tuning`, `supervised learning`, `control tau_one`.
    public internal(set) var phase = ""
    /// Steps done in the phase, and in all.
    public internal(set) var step = 0
    public internal(set) var steps = 0
    public internal(set) var loss = Double.nan
    /// Features captured at the phase's last probe.
    public internal(set) var captured = 0
    /// Done share of the whole run by arithmetic, 0 ... 1.
    public internal(set) var fraction = 0.0
    /// Since the run began.
    public internal(set) var seconds = 0.0

    public init() {}

    /// Estimated from the speed so far; NaN before the first step.
    public var secondsLeft: Double { fraction > 0 ? seconds * (1 - fraction) / fraction : .nan }

    /// A value by name; nil for an unknown one.
    public func value(_ name: String) -> Double? {
        switch name {
        case "seed": return Double(seedIndex)
        case "seeds": return Double(seeds)
        case "step": return Double(step)
        case "steps": return Double(steps)
        case "loss": return loss
        case "captured": return Double(captured)
        case "seconds": return seconds
        case "seconds_left": return secondsLeft
        default: return nil
        }
    }
}

/// Counts work and passes progress on.
final class ProgressReporter {
    private(set) var progress = LabProgress()
    private let callback: (LabProgress) -> Bool
    private let total: Double
    private let start = monotonicSeconds()
    private var done = 0.0
    private var costPerStep = 0.0

    /// `total`: work of the whole run, in the unit of `begin`.
    init(total: Double, seeds: Int, _ callback: @escaping (LabProgress) -> Bool) {
        self.total = max(total, 1)
        self.callback = callback
        progress.seeds = seeds
    }

    func beginSeed(_ index: Int) { progress.seedIndex = index }

    func begin(_ phase: String, steps: Int, costPerStep: Double) {
        progress.phase = phase
        progress.step = 0
        progress.steps = steps
        progress.loss = .nan
        progress.captured = 0
        self.costPerStep = costPerStep
    }

    func probed(captured: Int) { progress.captured = captured }

    /// After a step. Throws `LabCancelled` when the callback says no.
    func stepped(loss: Double) throws {
        progress.step += 1
        progress.loss = loss
        done += costPerStep
        progress.fraction = min(1, done / total)
        progress.seconds = monotonicSeconds() - start
        if !callback(progress) { throw LabCancelled() }
    }

    /// Steps that were skipped count as done.
    func end() { done += costPerStep * Double(progress.steps - progress.step) }
}
