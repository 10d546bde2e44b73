/// Measurements of one control.
public struct ControlResult: Sendable {
    public let id: String
    /// The change, and what should follow from it.
    public let statement: String
    public let features: FeatureState
    public let loss: Double
    public let divergedAt: Int?
    /// Of the controls that are trained with labels.
    public let trainAccuracy: Double?
    public let test: TestResult?
    public let checks: [Check]
    public let seconds: Double
}

/// Experiments beside the claims, so that nobody is fooled: what happens without the ingredient that is said to matter. They limit
/// what may be concluded from accuracy alone: a linear head on a random encoder already separates nearly noise-free samples.
enum Controls {
    /// A pretraining with something changed.
    struct Changed {
        let id: String
        let statement: String
        let change: (inout LabOptions) -> Void
        var form = Check.Form.everySeed
        let checks: (FeatureState, LabOptions) -> [(quantity: String, threshold: Threshold, measured: Double)]
    }

    /// A level that a stable run never reaches: it settles just above rho-bar, where f(tau z) / f(z) = 1 + kappa / C_p.
    static func runawayLevel(_ options: LabOptions) -> Double { 6 * options.radius }

    static func changed(_ options: LabOptions) -> [Changed] {
        let none: (FeatureState, LabOptions) -> [(quantity: String, threshold: Threshold, measured: Double)] = { state, _ in
            [("features captured", .atMost(0), Double(state.captured))]
        }
        var controls = [
            Changed(
                id: "tau_one", statement: "tau = 1: the student is its own teacher, weights only shrink; nothing is captured.",
                change: { $0.tau = 1 }, checks: none),
            Changed(
                id: "ema_teacher", statement: "A moving-average teacher lags behind; on most seeds nothing is captured in the same time.",
                change: { $0.teacher = .ema }, form: .share(0.9), checks: none),
            Changed(
                id: "fixed_teacher", statement: "A fixed teacher tau w(0) pulls no kernel beyond it; nothing is captured.",
                change: { $0.teacher = .fixed }, checks: none),
        ]
        guard options.growth > 0 else { return controls }
        let strong = 1.5 * options.growth
        let weak = options.kappa / 3
        controls.append(
            Changed(
                id: "theta_below_window",
                statement:
                    "theta so small that kappa = \(Text.number(strong)) exceeds (tau^q - 1) C_p = \(Text.number(options.growth)); nothing grows.",
                change: { $0.theta = 1 / (1 + strong) }, checks: none))
        controls.append(
            Changed(
                id: "theta_above_window",
                statement: "theta so large that kappa = \(Text.number(weak)) no longer holds active patches back; correlations run away.",
                change: { $0.theta = 1 / (1 + weak) },
                checks: { state, options in
                    [("largest correlation", .atLeast(runawayLevel(options)), state.lambda.max() ?? .nan)]
                }))
        return controls
    }

    static func cost(_ options: LabOptions) -> Double {
        var cost = 0.0
        for control in changed(options) {
            var other = options
            control.change(&other)
            cost += Double(other.pretrainSteps) * SeedRun.pretrainingCost(other)
        }
        guard options.finetune else { return cost }
        let converged = options.classes * options.convergedKernelsPerClass
        return cost + Double(options.finetuneSteps) * MultiView.classifierCost(options, kernels: options.kernels)
            + Double(options.convergedSteps) * MultiView.classifierCost(options, kernels: converged)
    }

    static func run(_ run: SeedRun, source: SampleSource) throws -> [ControlResult] {
        var results: [ControlResult] = []
        for control in changed(run.options) { results.append(try pretraining(control, run, source)) }
        if run.options.finetune {
            results.append(try randomEncoder(run))
            results.append(try convergedEncoder(run))
        }
        return results
    }

    private static func pretraining(_ control: Changed, _ run: SeedRun, _ source: SampleSource) throws -> ControlResult {
        var options = run.options
        control.change(&options)
        let initial = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let probe = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let network = try PatchNetwork(options, seed: run.seed, stream: .weights, compute: run.compute)
        let first = initial.measure(network)
        let result = try run.pretrain(
            network, source, options, initial: first, initialProbe: initial, probe: probe, phase: "control \(control.id)")
        let checks = control.checks(result.final, options).map {
            Check(control.id, $0.quantity, $0.threshold, $0.measured, isControl: true, form: control.form)
        }
        return ControlResult(
            id: control.id, statement: control.statement, features: result.final, loss: result.loss, divergedAt: result.divergedAt,
            trainAccuracy: nil, test: nil, checks: checks, seconds: result.seconds)
    }

    /// The same fine-tuning without pretraining: its loss stays near log k although accuracy looks good.
    private static func randomEncoder(_ run: SeedRun) throws -> ControlResult {
        let options = run.options
        let probe = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let result = try run.classify(
            try PatchNetwork(options, seed: run.seed, stream: .weights, compute: run.compute), head: .free,
            rates: .init(head: options.headRate, encoder: options.encoderRate), steps: options.finetuneSteps, probe: probe,
            phase: "control random_encoder", withSeries: false)
        let id = "random_encoder"
        let checks = [
            Check(id, "features captured", .atMost(0), Double(result.features.captured), isControl: true),
            Check(id, "training loss", .atLeast(0.85 * logarithm(options.classes)), result.loss, isControl: true),
        ]
        return ControlResult(
            id: id,
            statement:
                "A random encoder with the same fine-tuning: its accuracy may be high, but its loss stays near log k and no feature is captured.",
            features: result.features, loss: result.loss, divergedAt: result.divergedAt, trainAccuracy: result.trainAccuracy,
            test: result.test, checks: checks, seconds: result.seconds)
    }

    /// A random encoder and a free head trained until the loss is small: the matched baseline.
    private static func convergedEncoder(_ run: SeedRun) throws -> ControlResult {
        var options = run.options
        options.kernelsPerClass = options.convergedKernelsPerClass
        let probe = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        let result = try run.classify(
            try PatchNetwork(options, seed: run.seed, stream: .weights, compute: run.compute), head: .free,
            rates: .init(head: options.convergedHeadRate, encoder: options.convergedEncoderRate), steps: options.convergedSteps,
            probe: probe, phase: "control random_encoder_converged", withSeries: false)
        let id = "random_encoder_converged"
        let checks = [
            Check(
                id, "features captured, of \(2 * options.classes)", .atMost((0.7 * Double(2 * options.classes)).rounded()),
                Double(result.features.captured), isControl: true, form: .mean(deviation: 0.07 * Double(2 * options.classes))),
            Check(
                id, "single-view accuracy", .atMost(0.75), result.test.singleView, isControl: true, form: .mean(deviation: 0.06)),
        ]
        return ControlResult(
            id: id,
            statement:
                "A random encoder with a free head, trained to convergence: like supervised learning it misses features and single views.",
            features: result.features, loss: result.loss, divergedAt: result.divergedAt, trainAccuracy: result.trainAccuracy,
            test: result.test, checks: checks, seconds: result.seconds)
    }
}
