import CMRPKernels
import MRPEngine

/// Runs everything for one seed, then judges the claims: what the experiments' parts share.
final class SeedRun {
    let options: LabOptions
    let seed: Int
    let compute: LabCompute
    let reporter: ProgressReporter
    let distribution: PatchDistribution
    /// Most bytes that the library held at a probe.
    private(set) var bytes: Int64 = 0

    /// Labelled samples and tests of the multi-view experiment, made when they are first needed.
    var labelled: (source: SampleSource, evaluation: Evaluation)?

    init(_ options: LabOptions, seed: Int, compute: LabCompute, reporter: ProgressReporter) throws {
        self.options = options
        self.seed = seed
        self.compute = compute
        self.reporter = reporter
        distribution = try PatchDistribution(options, seed: seed)
    }

    func run() throws -> SeedResult {
        let start = monotonicSeconds()
        var result = try options.definition.run(self)
        result.checks = options.claims.flatMap { $0.checks(result, options) } + result.controls.flatMap(\.checks)
        // Claims come first, whatever order an experiment has them in.
        result.checks = result.checks.filter { !$0.isControl } + result.checks.filter(\.isControl)
        result.seconds = monotonicSeconds() - start
        return result
    }

    /// Steps of a training with labels, until `isDone`, which is asked after each, or `steps`.
    func train(
        _ training: ClassifierTraining, steps: Int, phase: String, isDone: () throws -> Bool = { false }
    ) throws {
        let network = training.network
        reporter.begin(
            phase, steps: steps, costPerStep: Self.classifierCost(options, samples: training.samplesPerStep, kernels: network.kernels))
        while training.step < steps, training.divergedAt == nil {
            try training.advance()
            let isLast = try isDone()
            noteMemory()
            try reporter.stepped(loss: training.loss)
            if isLast { break }
        }
        reporter.end()
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

    func noteMemory() { bytes = max(bytes, mk_bytes_in_use()) }

    /// Multiply-adds of a step, for progress.
    static func pretrainingCost(_ options: LabOptions) -> Double {
        let samples = options.pretrainBatch > 0 ? options.pretrainBatch : options.pretrainSamples
        let teacher = options.teacher == .scaled ? 2.0 : 3.0
        return teacher * Double(samples) * Double(options.patches) * Double(options.dimension) * Double(options.kernels)
    }

    static func classifierCost(_ options: LabOptions, samples: Int, kernels: Int) -> Double {
        2 * Double(samples) * Double(options.patches) * Double(options.dimension) * Double(kernels)
    }
}
