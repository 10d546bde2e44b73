import CMRPKernels
import MRPEngine

/// Accuracy and margins on fresh samples, by view kind and by whether the shown view's feature was captured.
public struct TestResult: Sendable {
    /// Accuracy on multi-view and on single-view samples.
    public var multiView = Double.nan
    public var singleView = Double.nan
    /// Accuracy on single-view samples whose shown view was captured, and missed; NaN when there are none.
    public var capturedView = Double.nan
    public var missedView = Double.nan
    /// F_y - max_{j != y} F_j (Theorem 2 bounds it from below): mean, 1 % quantile and minimum on each kind.
    public var multiViewMargin = Margin()
    public var singleViewMargin = Margin()

    public struct Margin: Sendable {
        public var mean = Double.nan
        public var lowest1Percent = Double.nan
        public var minimum = Double.nan
    }
}

/// The test sets of a multi-view seed: fresh samples of each kind.
final class Evaluation {
    private let multiView, singleView: TestSet

    var bytes: Int { multiView.bytes + singleView.bytes }

    init(_ distribution: PatchDistribution, compute: LabCompute) throws {
        let count = distribution.options.testSamples
        multiView = try TestSet(distribution, .multiView, .multiViewTest, count: count, compute: compute)
        singleView = try TestSet(distribution, .singleView, .singleViewTest, count: count, compute: compute)
    }

    func run(_ network: PatchNetwork, _ head: LinearHead, captured: [Bool]) throws -> TestResult {
        var result = TestResult()
        var margins = try multiView.margins(network, head)
        result.multiView = TestSet.accuracy(margins)
        result.multiViewMargin = Self.summary(margins)
        margins = try singleView.margins(network, head)
        let source = singleView.source
        var right = [0, 0]
        var all = [0, 0]
        for n in 0..<source.count {
            let isCaptured = captured[2 * Int(source.labels[n]) + Int(source.shown[n])] ? 1 : 0
            all[isCaptured] += 1
            if margins[n] > 0 { right[isCaptured] += 1 }
        }
        result.singleView = TestSet.accuracy(margins)
        result.capturedView = Self.share(right[1], all[1])
        result.missedView = Self.share(right[0], all[0])
        result.singleViewMargin = Self.summary(margins)
        return result
    }

    private static func share(_ part: Int, _ whole: Int) -> Double { whole == 0 ? .nan : Double(part) / Double(whole) }

    private static func summary(_ values: UnsafeMutableBufferPointer<Double>) -> TestResult.Margin {
        var margins = values
        margins.sort()
        guard let first = margins.first, let last = margins.last, first.isFinite, last.isFinite else { return .init() }
        return .init(
            mean: margins.reduce(0, +) / Double(margins.count), lowest1Percent: margins[margins.count / 100], minimum: first)
    }
}
