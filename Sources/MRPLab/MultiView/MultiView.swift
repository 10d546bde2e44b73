import MRPEngine
import MRPOptions

/// The paper's experiment (arXiv 2206.03826): mask-reconstruction pretraining against supervised learning on multi-view data.
struct MultiView: Experiment {
    let paper = "arXiv 2206.03826"
    let note = "Shows the mechanism of arXiv 2206.03826 at finite size; it proves nothing about the limit that the theorems speak of."

    let presets = [
        Preset(
            name: "multiview", summary: "The default regime: k 10, d 64, P 24, 200 kernels; five seeds with controls, a minute.", values: []
        ),
        Preset(
            name: "quick", summary: "One seed of the default regime, without controls and frozen probe; a few seconds.",
            values: [("seeds", "1"), ("controls", "false"), ("frozen_probe", "false")]),
    ]

    /// Everything but the others' own.
    var keys: Set<String> {
        Set(LabOption.all.map(\.definition).filter { !["hierarchical", "patch_routing"].contains($0.section) }.map(\.key))
    }

    let claims: [any Claim] = [
        AllSemanticsCaptured(), OneSemanticPerKernel(), LeadersCapture(), FineTuningKeepsFeatures(), NoTestError(),
        SupervisedCapturesHalf(),
    ]

    func validate(_ o: LabOptions) throws {
        try require(
            2 * o.classes <= o.dimension, "dimension (d) \(o.dimension) is less than 2 k = \(2 * o.classes), the number of features")
        try require(
            2 * o.patchesPerFeature <= o.patches,
            "patches (P) \(o.patches) is less than 2 C_p = \(2 * o.patchesPerFeature), the patches of the label's two features")
        try require(o.presence <= Double(o.classes), "presence (s) \(o.presence) is above k = \(o.classes)")
        try require(o.mainLow <= o.mainHigh, "main_low \(o.mainLow) is above main_high \(o.mainHigh)")
        try require(o.otherLow <= o.otherHigh, "other_low \(o.otherLow) is above other_high \(o.otherHigh)")
        try require(
            o.pretrainBatch <= o.pretrainSamples, "pretrain_batch \(o.pretrainBatch) is above pretrain_samples (N_pre) \(o.pretrainSamples)"
        )
        try require(o.trainBatch <= o.trainSamples, "train_batch \(o.trainBatch) is above train_samples (N) \(o.trainSamples)")
    }

    func cost(_ options: LabOptions) -> Double {
        var cost = Double(options.pretrainSteps) * SeedRun.pretrainingCost(options)
        let step = Self.classifierCost(options, kernels: options.kernels)
        if options.finetune { cost += Double(options.finetuneSteps) * step }
        if options.frozenProbe { cost += Double(options.finetuneSteps) * step }
        if options.supervised { cost += Double(options.supervisedSteps) * step }
        if options.controls { cost += Controls.cost(options) }
        return cost
    }

    static func classifierCost(_ options: LabOptions, kernels: Int) -> Double {
        SeedRun.classifierCost(options, samples: options.trainBatch > 0 ? options.trainBatch : options.trainSamples, kernels: kernels)
    }

    func run(_ run: SeedRun) throws -> SeedResult {
        let options = run.options
        let initial = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let probe = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let source = try SampleSource(
            run.distribution, .mixed, .pretrainData, count: options.pretrainSamples, batch: options.pretrainBatch, compute: run.compute)
        let network = try PatchNetwork(options, seed: run.seed, stream: .weights, compute: run.compute)
        let first = initial.measure(network)
        var result = SeedResult(seed: run.seed)
        result.correlations = [("initial", try CorrelationMap(initial))]
        result.pretraining = try run.pretrain(
            network, source, options, initial: first, initialProbe: initial, probe: probe, phase: "pretraining")
        result.correlations.append(("pretrained", try CorrelationMap(probe)))
        if options.finetune {
            result.finetuning = try run.classify(
                try PatchNetwork(copying: network), head: .free, rates: .init(head: options.headRate, encoder: options.encoderRate),
                steps: options.finetuneSteps, probe: probe, phase: "fine-tuning")
        }
        if options.frozenProbe {
            result.frozenProbe = try run.classify(
                try PatchNetwork(copying: network), head: .free, rates: .init(head: options.headRate, encoder: 0),
                steps: options.finetuneSteps, probe: probe, phase: "frozen probe")
        }
        if options.supervised {
            let scratch = try PatchNetwork(options, seed: run.seed, stream: .supervisedWeights, compute: run.compute)
            let rates = ClassifierTraining.Rates(
                head: options.supervisedHead == .block ? 0 : options.supervisedRate, encoder: options.supervisedRate)
            result.supervised = try run.classify(
                scratch, head: options.supervisedHead, rates: rates, steps: options.supervisedSteps, probe: probe,
                phase: "supervised learning", until: options.supervisedUntil)
            result.correlations.append(("supervised", try CorrelationMap(probe)))
        }
        if options.controls { result.controls = try Controls.run(run, source: source) }
        return result
    }
}

extension SeedRun {
    /// Trains on the labelled samples and tests on fresh ones. `until`: the share of the multi-view training samples whose being right ends
    /// training, in all the steps in which each is seen once; 0 for none.
    func classify(
        _ network: PatchNetwork, head kind: LabOptions.HeadKind, rates: ClassifierTraining.Rates, steps: Int, probe: FeatureProbe,
        phase: String, until: Double = 0, withSeries: Bool = true
    ) throws -> ClassifierResult {
        let start = monotonicSeconds()
        let (source, evaluation) = try labelledData()
        let head =
            try kind == .block
            ? LinearHead.blocks(classes: options.classes, network: network) : LinearHead(classes: options.classes, network: network)
        let training = try ClassifierTraining(network, head, source, rates: rates, batch: options.trainBatch, seed: seed)
        if until > 0 { try training.watch(share: until) { source.shown[$0] < 0 } }
        var series: [ProbePoint] = []
        // Tests cost as much as several steps, so the series has about eight.
        let every = max(options.probeEvery, until > 0 ? 25 : steps / 8)
        func take() throws -> FeatureState {
            let state = probe.measure(network, blocks: kind == .block ? options.classes : 0)
            series.append(
                ProbePoint(
                    step: training.step, loss: training.loss, features: state, trainAccuracy: training.accuracy,
                    test: try evaluation.run(network, head, captured: state.isCaptured)))
            reporter.probed(captured: state.captured)
            return state
        }
        try train(training, steps: steps, phase: phase) {
            let isDone = until > 0 && training.goodSteps >= training.stepsPerEpoch
            if withSeries, !isDone, training.step % every == 0, training.step < steps { _ = try take() }
            return isDone
        }
        let state = try take()
        let measured = try training.measure()
        return ClassifierResult(
            features: state, loss: measured.loss, trainAccuracy: measured.accuracy, test: series.last?.test ?? TestResult(),
            divergedAt: training.divergedAt, series: series, seconds: monotonicSeconds() - start)
    }

    private func labelledData() throws -> (source: SampleSource, evaluation: Evaluation) {
        if let labelled { return labelled }
        let source = try SampleSource(
            distribution, .mixed, .trainData, count: options.trainSamples, batch: options.trainBatch, compute: compute)
        let made = (source: source, evaluation: try Evaluation(distribution, compute: compute))
        labelled = made
        return made
    }
}
