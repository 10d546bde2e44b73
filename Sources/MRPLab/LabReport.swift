import MRPEngine

/// Findings of a run, per seed and over seeds.
public struct LabReport: Sendable {
    public let options: LabOptions
    public let seeds: [SeedResult]
    /// Instruction set and threads that were used.
    public let instructions: String
    public let threads: Int
    /// Most bytes that the library held at a probe (all its objects in this process).
    public let bytes: Int
    public let seconds: Double

    /// Said in every report.
    public var note: String { options.definition.note }
    /// Whether every claim holds over the seeds that were run: on every one, or, where it speaks of all seeds there are, as far as these tell.
    public var claimsHold: Bool { summaries.allSatisfy { $0.isControl || $0.holds } }
    /// Whether every control behaves as expected, in the same sense.
    public var controlsHold: Bool { summaries.allSatisfy { !$0.isControl || $0.holds } }

    /// One check over all seeds.
    public struct Summary: Sendable {
        public let claim: String
        public let quantity: String
        public let threshold: Threshold
        public let isControl: Bool
        public let form: Check.Form
        /// The value of each seed.
        public let values: [Double]

        public var seeds: Int { values.count }
        /// Seeds on which it holds.
        public var holding: Int { values.count { threshold.admits($0) } }
        public var holds: Bool { form.holds(values, threshold) }
        public var mean: Double { Statistics.mean(values) }
        /// NaN when one of the values is.
        public var minimum: Double { hasNaN ? .nan : values.min() ?? .nan }
        public var maximum: Double { hasNaN ? .nan : values.max() ?? .nan }
        /// "<= 0.2", "9 ... 14 on average", "<= 0 on 90 % of seeds".
        public var thresholdText: String { threshold.text + form.text }
        /// The 95 % confidence interval of the mean, or of the share of seeds; nil where the claim speaks of every seed.
        public var interval: (low: Double, high: Double)? {
            switch form {
            case .everySeed: nil
            case .mean: Statistics.interval(values)
            case .share: Statistics.interval(holding, of: seeds)
            }
        }

        private var hasNaN: Bool { values.contains { $0.isNaN } }
    }

    /// Every check over all seeds, claims first. Seeds have the same checks in the same order.
    public var summaries: [Summary] {
        guard let first = seeds.first else { return [] }
        return first.checks.indices.map { index in
            let check = first.checks[index]
            return Summary(
                claim: check.claim, quantity: check.quantity, threshold: check.threshold, isControl: check.isControl, form: check.form,
                values: seeds.compactMap { index < $0.checks.count ? $0.checks[index].measured : nil })
        }
    }

    /// Statement of a claim or a control; "" for an unknown one.
    public func statement(of claim: String) -> String {
        options.claims.first { $0.id == claim }?.statement ?? seeds.first?.controls.first { $0.id == claim }?.statement
            ?? seeds.first?.arm(claim)?.statement ?? ""
    }
}
