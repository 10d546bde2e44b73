import MRPEngine
import MRPOptions

/// Why fine-grained labels in pretraining help (arXiv 2410.23129): supervised learning with fine, coarse, random and grouped labels on easy
/// samples, tested on easy and hard ones; and mask-reconstruction pretraining without labels on the same data, which is ours.
struct Hierarchical: Experiment {
    let paper = "arXiv 2410.23129"
    let note = "Shows the mechanism of arXiv 2410.23129 at finite size; it proves nothing about the limit that the theorems speak of."

    let presets = [
        Preset(
            name: "hierarchical",
            summary: "Fine against coarse labels: 20 subclasses in each of 2 classes, easy and hard samples; five seeds, minutes.",
            values: [
                ("dimension", "100"), ("patches", "16"), ("patches_per_feature", "3"), ("main_low", "0.9"), ("main_high", "1.1"),
                ("noise", "0.03"), ("kernels_per_class", "6"), ("power", "3"), ("radius", "0.25"), ("initial_deviation", "0.05"),
                ("train_samples", "2000"), ("train_batch", "100"), ("supervised_steps", "1500"), ("supervised_rate", "1.0"),
                ("pretrain_samples", "1600"), ("pretrain_steps", "160"), ("probe_every", "20"),
            ])
    ]

    let keys: Set<String> = [
        "subclasses", "groups", "distractor_low", "distractor_high", "pretrain_power", "pretrain_radius", "dimension", "patches",
        "patches_per_feature", "main_low", "main_high", "noise", "kernels_per_class", "power", "radius", "initial_deviation", "tau",
        "theta",
        "masks", "teacher", "ema_decay", "pretrain_samples", "pretrain_steps", "step_rule", "relative_step", "pretrain_rate",
        "pretrain_batch", "train_samples", "train_batch", "supervised_steps", "supervised_rate", "test_samples", "controls", "probe_every",
    ]

    let claims: [any Claim] = [FineLabelsSuffice(), CoarseLabelsStop(), MRPCapturesRare(), GroupsSuffice(), RandomSubclasses()]

    func validate(_ o: LabOptions) throws {
        let features = 2 + 2 * o.subclasses
        try require(features <= o.dimension, "dimension (d) \(o.dimension) is less than 2 + 2 k_s = \(features), the number of features")
        try require(
            2 * o.patchesPerFeature <= o.patches,
            "patches (P) \(o.patches) is less than 2 C_p = \(2 * o.patchesPerFeature), the patches of an easy sample's two features")
        try require(o.mainLow <= o.mainHigh, "main_low \(o.mainLow) is above main_high \(o.mainHigh)")
        try require(
            o.distractorLow <= o.distractorHigh, "distractor_low \(o.distractorLow) is above distractor_high \(o.distractorHigh)")
        try require(o.groups <= o.subclasses, "groups \(o.groups) is above subclasses (k_s) \(o.subclasses)")
        try require(
            o.pretrainBatch <= o.pretrainSamples, "pretrain_batch \(o.pretrainBatch) is above pretrain_samples (N_pre) \(o.pretrainSamples)"
        )
        try require(o.trainBatch <= o.trainSamples, "train_batch \(o.trainBatch) is above train_samples (N) \(o.trainSamples)")
    }

    func cost(_ options: LabOptions) -> Double {
        let samples = options.trainBatch > 0 ? options.trainBatch : options.trainSamples
        let arm = Double(options.supervisedSteps) * SeedRun.classifierCost(options, samples: samples, kernels: options.kernels)
        return Double(options.pretrainSteps) * SeedRun.pretrainingCost(options) + arm * Double(Arm.all(options).count)
    }

    func run(_ run: SeedRun) throws -> SeedResult {
        var result = SeedResult(seed: run.seed)
        try pretrain(run, &result)
        let arms = try LabelledArms(run)
        for arm in Arm.all(run.options) {
            let (numbers, map) = try arms.train(arm)
            result.arms.append(numbers)
            if !arm.isControl { result.correlations.append((arm.id, map)) }
        }
        return result
    }

    /// Without labels, on easy samples: with its own power and radius.
    private func pretrain(_ run: SeedRun, _ result: inout SeedResult) throws {
        var options = run.options
        options.power = options.pretrainPower
        options.radius = options.pretrainRadius
        let initial = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let probe = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let source = try SampleSource(
            run.distribution, .easy, .pretrainData, count: options.pretrainSamples, batch: options.pretrainBatch, compute: run.compute)
        let network = try PatchNetwork(options, seed: run.seed, stream: .weights, compute: run.compute)
        let first = initial.measure(network)
        result.correlations.append(("initial", try CorrelationMap(initial)))
        result.pretraining = try run.pretrain(
            network, source, options, initial: first, initialProbe: initial, probe: probe, phase: "pretraining")
        result.correlations.append(("pretrained", try CorrelationMap(probe)))
    }

    func studyColumns(_ options: LabOptions) -> [String] {
        ["captured", "features"] + Arm.all(options).flatMap { arm in LabelledArms.numbers.map { "\(arm.id).\($0)" } }
    }

    func studyRow(_ result: SeedResult, _ options: LabOptions) -> [String] {
        let captured = result.pretraining.map { Double($0.final.isCaptured.dropFirst(2).count { $0 }) }
        return [Study.field(captured), Study.field(Double(2 * options.subclasses))]
            + result.arms.flatMap { arm in LabelledArms.numbers.map { Study.field(arm.number($0)) } }
    }
}
