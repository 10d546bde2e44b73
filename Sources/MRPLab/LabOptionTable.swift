import MRPEngine

/// One option of the laboratory: its key, the paper's symbol, limits and documentation. The C ABI, Python's keyword arguments, the
/// command line and the columns of studies are derived from `LabOptionTable.all`.
public struct LabOptionDefinition: Sendable {
    public enum Kind: Sendable {
        case integer(ClosedRange<Int>)
        /// Finite numbers between the limits; an excluded limit is not allowed itself.
        case number(minimum: Double, maximum: Double, excludesMinimum: Bool, excludesMaximum: Bool)
        case flag
        case choice([String])
    }

    public let key: String
    /// The paper's symbol in ASCII, or "" when the paper has none. `LabOptions.set` accepts it in place of the key.
    public let symbol: String
    public let kind: Kind
    public let section: String
    public let summary: String
    let read: @Sendable (LabOptions) -> String
    let put: @Sendable (inout LabOptions, String) -> Void

    /// "tau" or "patches_per_feature (C_p)".
    public var name: String { symbol.isEmpty || symbol == key ? key : "\(key) (\(symbol))" }

    public var defaultValue: String { read(LabOptions()) }

    public var typeName: String {
        switch kind {
        case .integer: return "integer"
        case .number: return "number"
        case .flag: return "flag"
        case .choice: return "choice"
        }
    }

    /// The limits in words, for errors and manuals.
    public var limits: String {
        switch kind {
        case .integer(let range): return "\(range.lowerBound) ... \(range.upperBound)"
        case .number(let minimum, let maximum, let below, let above):
            return "\(below ? "(" : "[")\(minimum), \(maximum)\(above ? ")" : "]")"
        case .flag: return "true or false"
        case .choice(let values): return values.joined(separator: ", ")
        }
    }

    /// Refuses a text that is no value of this option; the error names option, symbol, value and limits.
    func validate(_ text: String) throws {
        let outside = MRPError(.argument, "\(name) \(text) is outside \(limits)")
        switch kind {
        case .integer(let range):
            guard let value = Int(text) else { throw MRPError(.argument, "\(name) '\(text)' is not an integer") }
            guard range.contains(value) else { throw outside }
        case .number(let minimum, let maximum, let excludesMinimum, let excludesMaximum):
            guard let value = Double(text), value.isFinite else { throw MRPError(.argument, "\(name) '\(text)' is not a number") }
            guard excludesMinimum ? value > minimum : value >= minimum, excludesMaximum ? value < maximum : value <= maximum else {
                throw outside
            }
        case .flag:
            guard LabOptionTable.flags[text] != nil else {
                throw MRPError(.argument, "\(name) '\(text)' is not one of: \(limits)")
            }
        case .choice(let values):
            guard values.contains(text) else { throw MRPError(.argument, "\(name) '\(text)' is not one of: \(limits)") }
        }
    }
}

public enum LabOptionTable {
    static let flags = ["true": true, "false": false, "1": true, "0": false, "yes": true, "no": false]

    public static let all: [LabOptionDefinition] = data + network + pretraining + training + parts + run

    static let byName: [String: LabOptionDefinition] = {
        var table: [String: LabOptionDefinition] = [:]
        for option in all {
            table[option.key] = option
            if !option.symbol.isEmpty { table[option.symbol] = option }
        }
        return table
    }()

    // Paths to a value type's properties are safe to share; Swift 6.3 does not yet infer it in this mode.
    private struct Path<Value>: @unchecked Sendable { let path: WritableKeyPath<LabOptions, Value> }

    private static func integer(
        _ key: String, _ symbol: String, _ range: ClosedRange<Int>, _ path: WritableKeyPath<LabOptions, Int>, _ section: String,
        _ summary: String
    ) -> LabOptionDefinition {
        let at = Path(path: path)
        return LabOptionDefinition(
            key: key, symbol: symbol, kind: .integer(range), section: section, summary: summary,
            read: { String($0[keyPath: at.path]) }, put: { $0[keyPath: at.path] = Int($1) ?? $0[keyPath: at.path] })
    }

    private static func number(
        _ key: String, _ symbol: String, _ minimum: Double, _ maximum: Double, _ path: WritableKeyPath<LabOptions, Double>,
        _ section: String, _ summary: String, above: Bool = false, below: Bool = false
    ) -> LabOptionDefinition {
        let at = Path(path: path)
        let kind = LabOptionDefinition.Kind.number(
            minimum: minimum, maximum: maximum, excludesMinimum: above, excludesMaximum: below)
        return LabOptionDefinition(
            key: key, symbol: symbol, kind: kind, section: section, summary: summary,
            read: { "\($0[keyPath: at.path])" }, put: { $0[keyPath: at.path] = Double($1) ?? $0[keyPath: at.path] })
    }

    private static func flag(
        _ key: String, _ path: WritableKeyPath<LabOptions, Bool>, _ section: String, _ summary: String
    ) -> LabOptionDefinition {
        let at = Path(path: path)
        return LabOptionDefinition(
            key: key, symbol: "", kind: .flag, section: section, summary: summary,
            read: { "\($0[keyPath: at.path])" }, put: { $0[keyPath: at.path] = flags[$1] ?? $0[keyPath: at.path] })
    }

    private static func choice<Value: RawRepresentable & CaseIterable>(
        _ key: String, _ path: WritableKeyPath<LabOptions, Value>, _ section: String, _ summary: String
    ) -> LabOptionDefinition where Value.RawValue == String {
        let at = Path(path: path)
        return LabOptionDefinition(
            key: key, symbol: "", kind: .choice(Value.allCases.map(\.rawValue)), section: section, summary: summary,
            read: { $0[keyPath: at.path].rawValue },
            put: { $0[keyPath: at.path] = Value(rawValue: $1) ?? $0[keyPath: at.path] })
    }

    private static let data = [
        integer("classes", "k", 2...1_000, \.classes, "data", "Classes; there are 2 k features."),
        integer(
            "dimension", "d", 4...16_384, \.dimension, "data",
            "Dimension of a patch; at least 2 k, so that the features can be orthonormal."),
        integer("patches", "P", 2...16_384, \.patches, "data", "Patches of a sample; at least 2 C_p."),
        integer("patches_per_feature", "C_p", 1...1_024, \.patchesPerFeature, "data", "Patches that carry one feature."),
        number(
            "presence", "s", 0, 1_000, \.presence, "data", "Every feature of another class is present with probability s / k; at most k."),
        number(
            "single_fraction", "mu", 0, 1, \.singleFraction, "data",
            "Share of single-view samples in the data of pretraining and of training."),
        number("main_low", "", 0, 100, \.mainLow, "data", "Lower limit of z_p in each patch of a shown feature of the label."),
        number("main_high", "", 0, 100, \.mainHigh, "data", "Upper limit of z_p in each patch of a shown feature of the label."),
        number("other_low", "", 0, 100, \.otherLow, "data", "Lower limit of the sum of z_p of another class's feature, multi-view."),
        number("other_high", "", 0, 100, \.otherHigh, "data", "Upper limit of the sum of z_p of another class's feature, multi-view."),
        number("weak_view", "rho", 0, 100, \.weakView, "data", "Single-view: the label's hidden view has a sum of z_p in [rho, 2 rho]."),
        number(
            "single_other", "Gamma", 0, 100, \.singleOther, "data",
            "Single-view: another class's feature has a sum of z_p in [Gamma / 2, Gamma]."),
        number(
            "feature_noise", "gamma", 0, 10, \.featureNoise, "data", "Every patch holds every feature with a coefficient in [0, gamma]."),
        number("noise", "sigma_p", 0, 10, \.noise, "data", "Standard deviation of the Gaussian noise in each coordinate of a patch."),
    ]

    private static let network = [
        integer("kernels_per_class", "m", 1...10_000, \.kernelsPerClass, "network", "Kernels per class; the network has K = k m."),
        integer("power", "q", 2...16, \.power, "network", "Power of the smoothed ReLU."),
        number(
            "radius", "rho_bar", 1e-3, 100, \.radius, "network",
            "Where the smoothed ReLU becomes linear, and the correlation from which a feature counts as captured."),
        number(
            "initial_deviation", "sigma_0", 0, 10, \.initialDeviation, "network", "Standard deviation of the initial weights.", above: true),
    ]

    private static let pretraining = [
        number(
            "tau", "tau", 0, 10, \.tau, "pretraining", "The teacher's weights are tau times the student's; 1: nothing to learn from.",
            above: true),
        number("theta", "theta", 0, 1, \.theta, "pretraining", "Probability that a patch is kept.", above: true),
        choice(
            "masks", \.masks, "pretraining", "averaged: the exact average over all masks; sampled: a new mask of each sample in each step."),
        choice(
            "teacher", \.teacher, "pretraining",
            "scaled: tau times the student; ema: a moving average of that; fixed: tau times the initial student."),
        number("ema_decay", "", 0, 1, \.emaDecay, "pretraining", "Decay of the ema teacher.", below: true),
        integer("pretrain_samples", "N_pre", 1...(1 << 30), \.pretrainSamples, "pretraining", "Samples of pretraining, without labels."),
        integer("pretrain_steps", "T", 0...1_000_000, \.pretrainSteps, "pretraining", "Steps of pretraining; 0 leaves the random encoder."),
        choice("step_rule", \.stepRule, "pretraining", "relative: every kernel on its own clock; plain: gradient descent."),
        number(
            "relative_step", "rel_step", 0, 1, \.relativeStep, "pretraining", "Largest |change of w_r| / |w_r| in a relative step.",
            above: true),
        number(
            "pretrain_rate", "eta", 0, 1e6, \.pretrainRate, "pretraining",
            "Learning rate of pretraining; with relative steps an upper limit."),
        integer("pretrain_batch", "", 0...(1 << 30), \.pretrainBatch, "pretraining", "Samples per step of pretraining; 0: all."),
    ]

    private static let training = [
        integer(
            "train_samples", "N", 1...(1 << 30), \.trainSamples, "training", "Labelled samples of fine-tuning and of supervised learning."),
        integer("train_batch", "", 0...(1 << 30), \.trainBatch, "training", "Samples per step of both; 0: all."),
        integer(
            "finetune_steps", "", 0...1_000_000, \.finetuneSteps, "training", "Steps of fine-tuning, with a free head that starts at 0."),
        number("head_rate", "eta_u", 0, 1e6, \.headRate, "training", "Learning rate of the head in fine-tuning."),
        number("encoder_rate", "eta_w", 0, 1e6, \.encoderRate, "training", "Learning rate of the encoder in fine-tuning."),
        choice(
            "supervised_head", \.supervisedHead, "training",
            "Head of supervised learning: block, fixed sums of each class's kernels, or free, from 0."),
        integer("supervised_steps", "", 0...1_000_000, \.supervisedSteps, "training", "Steps of supervised learning from random weights."),
        number("supervised_rate", "eta_SL", 0, 1e6, \.supervisedRate, "training", "Learning rate of supervised learning."),
        integer("test_samples", "N_test", 1...(1 << 30), \.testSamples, "training", "Fresh test samples of each kind."),
    ]

    private static let parts = [
        flag("finetune", \.finetune, "parts", "Fine-tune after pretraining."),
        flag("supervised", \.supervised, "parts", "Train the supervised baseline."),
        flag("frozen_probe", \.frozenProbe, "parts", "Train a head on the frozen pretrained encoder."),
        flag("controls", \.controls, "parts", "Run the controls beside the claims."),
        integer(
            "converged_kernels_per_class", "", 1...10_000, \.convergedKernelsPerClass, "parts",
            "m of the control that trains a random encoder to convergence."),
        integer("converged_steps", "", 0...1_000_000, \.convergedSteps, "parts", "Steps of that control."),
        number("converged_head_rate", "", 0, 1e6, \.convergedHeadRate, "parts", "Learning rate of that control's head."),
        number("converged_encoder_rate", "", 0, 1e6, \.convergedEncoderRate, "parts", "Learning rate of that control's encoder."),
    ]

    private static let run = [
        integer("seeds", "", 1...10_000, \.seeds, "run", "Number of seeds."),
        integer("first_seed", "", 0...(1 << 62), \.firstSeed, "run", "The first seed; the others follow it."),
        integer("threads", "", 0...Compute.maximumThreads, \.threads, "run", "Threads; 0: one per processor. Results do not depend on it."),
        LabOptionDefinition(
            key: "precision", symbol: "", kind: .choice(["float32", "float64"]), section: "run",
            summary: "Arithmetic of the network; float64 is for checks.", read: { $0.precision == .float64 ? "float64" : "float32" },
            put: { $0.precision = $1 == "float64" ? .float64 : .float32 }),
        LabOptionDefinition(
            key: "instructions", symbol: "", kind: .choice(["auto"] + Compute.Instructions.allCases.map { "\($0)" }), section: "run",
            summary: "Instruction set of the kernels; auto: the best of this machine.",
            read: { $0.instructions.map { "\($0)" } ?? "auto" },
            put: { options, text in options.instructions = Compute.Instructions.allCases.first { "\($0)" == text } }),
        integer("probe_every", "", 1...1_000_000, \.probeEvery, "run", "Probes are taken every so many steps, and at the end."),
        integer(
            "data_bytes", "", 1_024...(1 << 50), \.dataBytes, "run",
            "Samples beyond this many bytes are generated in blocks whenever they are needed."),
    ]
}
