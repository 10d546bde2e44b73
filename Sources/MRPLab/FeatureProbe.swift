import CMRPKernels
import MRPEngine

/// Correlations of the kernels with the features at one moment.
public struct FeatureState: Sendable {
    /// Lambda_{i,l} = max_r max(<w_r, v_{i,l}>, 0), a value per feature. With class blocks the maximum is over the
    /// class's own kernels.
    public var lambda: [Double]
    /// Lambda >= rho-bar: the feature reaches the activation's linear part.
    public var isCaptured: [Bool]
    /// Kernels with at least one feature at rho-bar or above, with exactly one, with several, and with several of different classes.
    public var active, pure, mixed, mixedAcrossClasses: Int

    public var captured: Int { isCaptured.count { $0 } }
}

/// Measures correlations <w_r, v_j> of all kernels with all features.
final class FeatureProbe {
    let featureCount: Int
    let kernels: Int
    private let correlationMemory: Memory
    private let distribution: PatchDistribution
    private let radius: Double

    /// K x 2 k of the last measurement.
    var correlations: UnsafeBufferPointer<Double> { UnsafeBufferPointer(correlationMemory.typed(Double.self)) }

    init(_ distribution: PatchDistribution, kernels: Int, radius: Double) throws {
        self.distribution = distribution
        self.kernels = kernels
        self.radius = radius
        featureCount = distribution.featureCount
        correlationMemory = try Memory(
            checkedProduct([kernels, featureCount]), elementBytes: 8, for: "the correlations of kernels and features")
    }

    /// `blocks`: kernels are shared out evenly among so many classes, and a feature is judged by those of its own class; 0: by all.
    func measure(_ network: PatchNetwork, blocks: Int = 0) -> FeatureState {
        let output = correlationMemory.typed(Double.self)
        mk_patch_correlations(
            Int32(network.compute.elementBytes), &network.shape, network.weights.base, Int64(featureCount),
            distribution.features.baseAddress, output.baseAddress)
        var state = FeatureState(
            lambda: [Double](repeating: 0, count: featureCount), isCaptured: [], active: 0, pure: 0, mixed: 0, mixedAcrossClasses: 0)
        let perClass = max(1, kernels / max(blocks, 1))
        let owners = (0..<featureCount).map(distribution.owner)
        for r in 0..<kernels {
            var count = 0
            var classes = 0
            var lastClass = -1
            for j in 0..<featureCount {
                let value = output[r * featureCount + j]
                if value > state.lambda[j], blocks == 0 || r / perClass == owners[j] { state.lambda[j] = value }
                guard value >= radius else { continue }
                count += 1
                if owners[j] != lastClass { classes += 1 }
                lastClass = owners[j]
            }
            if count > 0 { state.active += 1 }
            if count == 1 { state.pure += 1 }
            if count > 1 { state.mixed += 1 }
            if classes > 1 { state.mixedAcrossClasses += 1 }
        }
        state.isCaptured = state.lambda.map { $0 >= radius }
        return state
    }

    /// Share of the features whose best kernel at initialisation (the leader of M_{i,l}) ends with a correlation of rho-bar or more.
    func leadersThatWon(initial: FeatureProbe) -> Double {
        var won = 0
        for j in 0..<featureCount {
            var leader = 0
            for r in 1..<max(kernels, 1) where initial.correlations[r * featureCount + j] > initial.correlations[leader * featureCount + j]
            {
                leader = r
            }
            if correlations[leader * featureCount + j] >= radius { won += 1 }
        }
        return Double(won) / Double(featureCount)
    }

    /// Share of the active kernels whose strongest feature is the one they were closest to at initialisation.
    func kernelsThatKeptTheirFeature(initial: FeatureProbe) -> Double {
        var active = 0
        var kept = 0
        for r in 0..<kernels {
            let row = r * featureCount
            var now = 0
            var before = 0
            for j in 1..<featureCount {
                if correlations[row + j] > correlations[row + now] { now = j }
                if initial.correlations[row + j] > initial.correlations[row + before] { before = j }
            }
            guard correlations[row + now] >= radius else { continue }
            active += 1
            if now == before { kept += 1 }
        }
        return active == 0 ? .nan : Double(kept) / Double(active)
    }
}
