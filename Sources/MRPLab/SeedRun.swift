import CMRPKernels
import MRPEngine

/// Runs everything for one seed: pretraining, fine-tuning, frozen probe, supervised baseline, controls; then the claims.
final class SeedRun {
    let options: LabOptions
    let seed: Int
    let compute: LabCompute
    let reporter: ProgressReporter
    let distribution: MultiViewDistribution
    /// Most bytes that the library held at a probe.
    private(set) var bytes: Int64 = 0

    private var trainSource: SampleSource?
    private var evaluation: Evaluation?

    init(_ options: LabOptions, seed: Int, compute: LabCompute, reporter: ProgressReporter) throws {
        self.options = options
        self.seed = seed
        self.compute = compute
        self.reporter = reporter
        distribution = try MultiViewDistribution(options, seed: seed)
    }

    func run() throws -> SeedResult {
        let start = monotonicSeconds()
        let initial = try FeatureProbe(distribution, kernels: options.kernels, radius: options.radius)
        let probe = try FeatureProbe(distribution, kernels: options.kernels, radius: options.radius)
        let source = try SampleSource(
            distribution, .mixed, .pretrainData, count: options.pretrainSamples, batch: options.pretrainBatch, compute: compute)
        let network = try PatchNetwork(options, seed: seed, stream: .weights, compute: compute)
        let first = initial.measure(network)
        let initialMap = try CorrelationMap(initial)
        let pretraining = try pretrain(network, source, options, initial: first, initialProbe: initial, probe: probe, phase: "pretraining")
        var result = SeedResult(
            seed: seed, pretraining: pretraining, finetuning: nil, frozenProbe: nil, supervised: nil, controls: [], checks: [],
            correlations: (initialMap, try CorrelationMap(probe), nil), seconds: 0)
        if options.finetune {
            result.finetuning = try classify(
                try PatchNetwork(copying: network), head: .free, rates: .init(head: options.headRate, encoder: options.encoderRate),
                steps: options.finetuneSteps, probe: probe, phase: "fine-tuning")
        }
        if options.frozenProbe {
            result.frozenProbe = try classify(
                try PatchNetwork(copying: network), head: .free, rates: .init(head: options.headRate, encoder: 0),
                steps: options.finetuneSteps, probe: probe, phase: "frozen probe")
        }
        if options.supervised {
            let scratch = try PatchNetwork(options, seed: seed, stream: .supervisedWeights, compute: compute)
            let rates = ClassifierTraining.Rates(
                head: options.supervisedHead == .block ? 0 : options.supervisedRate, encoder: options.supervisedRate)
            result.supervised = try classify(
                scratch, head: options.supervisedHead, rates: rates, steps: options.supervisedSteps, probe: probe,
                phase: "supervised learning")
            result.correlations.supervised = try CorrelationMap(probe)
        }
        if options.controls { result.controls = try Controls.run(self, source: source) }
        result.checks = Claims.all.flatMap { $0.checks(result, options) } + result.controls.flatMap(\.checks)
        result.seconds = monotonicSeconds() - start
        return result
    }

    func pretrain(
        _ network: PatchNetwork, _ source: SampleSource, _ options: LabOptions, initial: FeatureState, initialProbe: FeatureProbe,
        probe: FeatureProbe, phase: String
    ) throws -> PretrainingResult {
        let start = monotonicSeconds()
        let steps = options.pretrainSteps
        let training = try Pretraining(network, source, options, seed: seed)
        reporter.begin(phase, steps: steps, costPerStep: Self.pretrainingCost(options))
        reporter.probed(captured: initial.captured)
        var series = [ProbePoint(step: 0, loss: .nan, features: initial, trainAccuracy: .nan, test: nil)]
        while training.step < steps, training.divergedAt == nil {
            try training.advance()
            if training.step % options.probeEvery == 0 || training.step == steps || training.divergedAt != nil {
                let state = probe.measure(network)
                series.append(
                    ProbePoint(step: training.step, loss: training.loss, features: state, trainAccuracy: .nan, test: nil))
                reporter.probed(captured: state.captured)
                noteMemory()
            }
            try reporter.stepped(loss: training.loss)
        }
        reporter.end()
        let final = probe.measure(network)
        return PretrainingResult(
            initial: initial, final: final, leadersThatWon: probe.leadersThatWon(initial: initialProbe),
            kernelsThatKept: probe.kernelsThatKeptTheirFeature(initial: initialProbe), loss: training.loss,
            divergedAt: training.divergedAt, series: series, seconds: monotonicSeconds() - start)
    }

    /// Trains on the labelled samples and tests on fresh ones.
    func classify(
        _ network: PatchNetwork, head kind: LabOptions.HeadKind, rates: ClassifierTraining.Rates, steps: Int, probe: FeatureProbe,
        phase: String, withSeries: Bool = true
    ) throws -> ClassifierResult {
        let start = monotonicSeconds()
        let (source, evaluation) = try labelledData()
        let head =
            try kind == .block
            ? LinearHead.blocks(classes: options.classes, network: network) : LinearHead(classes: options.classes, network: network)
        let training = try ClassifierTraining(network, head, source, rates: rates, batch: options.trainBatch, seed: seed)
        reporter.begin(phase, steps: steps, costPerStep: Self.classifierCost(options, kernels: network.kernels))
        var series: [ProbePoint] = []
        // Tests cost as much as several steps, so the series has about eight.
        let every = max(options.probeEvery, steps / 8)
        func take() throws -> FeatureState {
            let state = probe.measure(network, byBlocks: kind == .block)
            series.append(
                ProbePoint(
                    step: training.step, loss: training.loss, features: state, trainAccuracy: training.accuracy,
                    test: try evaluation.run(network, head, captured: state.isCaptured)))
            reporter.probed(captured: state.captured)
            noteMemory()
            return state
        }
        while training.step < steps, training.divergedAt == nil {
            try training.advance()
            if withSeries, training.step % every == 0, training.step < steps { _ = try take() }
            try reporter.stepped(loss: training.loss)
        }
        reporter.end()
        let state = try take()
        let measured = try training.measure()
        return ClassifierResult(
            features: state, loss: measured.loss, trainAccuracy: measured.accuracy, test: series.last?.test ?? TestResult(),
            divergedAt: training.divergedAt, series: series, seconds: monotonicSeconds() - start)
    }

    private func labelledData() throws -> (SampleSource, Evaluation) {
        if let trainSource, let evaluation { return (trainSource, evaluation) }
        let source = try SampleSource(
            distribution, .mixed, .trainData, count: options.trainSamples, batch: options.trainBatch, compute: compute)
        let evaluation = try Evaluation(distribution, compute: compute)
        trainSource = source
        self.evaluation = evaluation
        return (source, evaluation)
    }

    private func noteMemory() { bytes = max(bytes, mk_bytes_in_use()) }

    /// Multiply-adds of a step, for progress.
    static func pretrainingCost(_ options: LabOptions) -> Double {
        let samples = options.pretrainBatch > 0 ? options.pretrainBatch : options.pretrainSamples
        let teacher = options.teacher == .scaled ? 2.0 : 3.0
        return teacher * Double(samples) * Double(options.patches) * Double(options.dimension) * Double(options.kernels)
    }

    static func classifierCost(_ options: LabOptions, kernels: Int) -> Double {
        let samples = options.trainBatch > 0 ? options.trainBatch : options.trainSamples
        return 2 * Double(samples) * Double(options.patches) * Double(options.dimension) * Double(kernels)
    }

    /// Work of a whole seed.
    static func cost(_ options: LabOptions) -> Double {
        var cost = Double(options.pretrainSteps) * pretrainingCost(options)
        let step = classifierCost(options, kernels: options.kernels)
        if options.finetune { cost += Double(options.finetuneSteps) * step }
        if options.frozenProbe { cost += Double(options.finetuneSteps) * step }
        if options.supervised { cost += Double(options.supervisedSteps) * step }
        if options.controls { cost += Controls.cost(options) }
        return cost
    }
}
