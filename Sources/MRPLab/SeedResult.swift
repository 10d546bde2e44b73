import MRPEngine

/// One moment of a run's time series.
public struct ProbePoint: Sendable {
    public let step: Int
    public let loss: Double
    public let features: FeatureState
    /// Accuracy on the training samples of the step; NaN in pretraining.
    public let trainAccuracy: Double
    /// nil in pretraining.
    public let test: TestResult?
}

/// Result of pretraining one seed.
public struct PretrainingResult: Sendable {
    public var initial: FeatureState
    public var final: FeatureState
    /// Share of the features whose best kernel at initialisation captured them.
    public var leadersThatWon: Double
    /// Share of the active kernels whose feature is the one they started closest to.
    public var kernelsThatKept: Double
    public var loss: Double
    /// The step whose loss was not finite, if there was one.
    public var divergedAt: Int?
    public var series: [ProbePoint]
    public var seconds: Double
}

/// Result of training with labels: fine-tuning, supervised learning or the frozen probe.
public struct ClassifierResult: Sendable {
    public var features: FeatureState
    /// On all training samples, with the final weights.
    public var loss: Double
    public var trainAccuracy: Double
    public var test: TestResult
    public var divergedAt: Int?
    public var series: [ProbePoint]
    public var seconds: Double
}

/// Everything one seed measured; parts that the experiment does not have, or that were not run, are nil or empty.
public struct SeedResult: Sendable {
    public let seed: Int
    public var pretraining: PretrainingResult?
    public var finetuning: ClassifierResult?
    public var frozenProbe: ClassifierResult?
    public var supervised: ClassifierResult?
    public var controls: [ControlResult] = []
    /// Parts of the experiments that have only numbers.
    public var arms: [ArmResult] = []
    /// The claims' checks, in the order of the experiment's claims, then the controls'.
    public internal(set) var checks: [Check] = []
    /// <w_r, v_j>, kernels x features, row-major, by moment: `initial`, `pretrained`, `supervised` and others of the experiment.
    public var correlations: [(moment: String, map: CorrelationMap)] = []
    public var seconds = 0.0

    /// Whether every check of a claim holds that speaks of every seed (controls are judged separately).
    public var claimsHold: Bool { checks.allSatisfy { $0.isControl || $0.form != .everySeed || $0.holds } }
    public var controlsHold: Bool { checks.allSatisfy { !$0.isControl || $0.form != .everySeed || $0.holds } }

    public func correlations(_ moment: String) -> CorrelationMap? { correlations.first { $0.moment == moment }?.map }
    public func arm(_ id: String) -> ArmResult? { arms.first { $0.id == id } }
}

/// Correlations of kernels (rows) with features (columns), for heat maps.
public final class CorrelationMap: @unchecked Sendable {
    public let kernels: Int
    public let features: Int
    private let memory: Memory

    /// Kernels x features; never changes.
    public var values: UnsafeBufferPointer<Double> { UnsafeBufferPointer(memory.typed(Double.self)) }

    init(_ probe: FeatureProbe) throws {
        kernels = probe.kernels
        features = probe.featureCount
        memory = try Memory(probe.correlations.count, elementBytes: 8, for: "the correlations of kernels and features")
        _ = memory.typed(Double.self).update(from: probe.correlations)
    }
}
