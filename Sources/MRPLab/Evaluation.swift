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

/// The test sets of a seed: fresh samples of each kind.
final class Evaluation {
    private let multiView, singleView: SampleSource
    private let logits: Memory
    private let margins: Memory

    var bytes: Int { multiView.bytes + singleView.bytes + logits.bytes + margins.bytes }

    init(_ distribution: MultiViewDistribution, compute: LabCompute) throws {
        let options = distribution.options
        multiView = try SampleSource(distribution, .multiView, .multiViewTest, count: options.testSamples, compute: compute)
        singleView = try SampleSource(distribution, .singleView, .singleViewTest, count: options.testSamples, compute: compute)
        logits = try Memory(
            checkedProduct([multiView.blockCount, options.classes]), elementBytes: compute.elementBytes, for: "logits")
        margins = try Memory(options.testSamples, elementBytes: 8, for: "margins")
    }

    func run(_ network: PatchNetwork, _ head: LinearHead, captured: [Bool]) throws -> TestResult {
        var result = TestResult()
        try network.compute.reserve(network.shape, samples: multiView.blockCount, classes: head.classes)
        let values = margins.typed(Double.self)
        try classify(multiView, network, head)
        result.multiView = Self.share(values.count { $0 > 0 }, values.count)
        result.multiViewMargin = Self.summary(values)
        try classify(singleView, network, head)
        var right = [0, 0]
        var all = [0, 0]
        for n in 0..<singleView.count {
            let isCaptured = captured[2 * Int(singleView.labels[n]) + Int(singleView.shown[n])] ? 1 : 0
            all[isCaptured] += 1
            if values[n] > 0 { right[isCaptured] += 1 }
        }
        result.singleView = Self.share(right[0] + right[1], singleView.count)
        result.capturedView = Self.share(right[1], all[1])
        result.missedView = Self.share(right[0], all[0])
        result.singleViewMargin = Self.summary(values)
        return result
    }

    /// Margins of all samples of a set; a sample is right when its margin is positive.
    private func classify(_ source: SampleSource, _ network: PatchNetwork, _ head: LinearHead) throws {
        try source.forEachBlock { block in
            var call = mk_patch_classifier()
            var loss = 0.0
            var correct: Int64 = 0
            call.network = network.shape
            call.batch = block.batch
            call.classes = Int64(head.classes)
            call.labels = block.labels
            call.weights = UnsafeRawPointer(network.weights.base)
            call.head = UnsafeRawPointer(head.weights.base)
            call.scale = 1
            call.logits = logits.base
            withUnsafeMutablePointer(to: &loss) { loss in
                withUnsafeMutablePointer(to: &correct) { correct in
                    call.loss = loss
                    call.correct = correct
                    network.compute.kernels.classifier(network.compute.pool, &call)
                }
            }
            try network.compute.check()
            if network.compute.precision == .float32 {
                takeMargins(logits.typed(Float.self), block, head.classes)
            } else {
                takeMargins(logits.typed(Double.self), block, head.classes)
            }
        }
    }

    private func takeMargins<Real: BinaryFloatingPoint>(
        _ logits: UnsafeMutableBufferPointer<Real>, _ block: SampleSource.Block, _ classes: Int
    ) {
        let values = margins.typed(Double.self)
        for n in 0..<block.count {
            let label = Int(block.labels[n])
            var other = -Double.infinity
            for i in 0..<classes where i != label { other = max(other, Double(logits[n * classes + i])) }
            values[block.first + n] = Double(logits[n * classes + label]) - other
        }
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
