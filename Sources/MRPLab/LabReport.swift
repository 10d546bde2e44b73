import MRPEngine

/// Findings of a run, per seed and over seeds.
public struct LabReport: Sendable {
    /// Said in every report.
    public static let note =
        "Shows the mechanism of arXiv 2206.03826 at finite size; it proves nothing about the limit that the theorems speak of."

    public let options: LabOptions
    public let seeds: [SeedResult]
    /// Instruction set and threads that were used.
    public let instructions: String
    public let threads: Int
    /// Most bytes that the library held at a probe (all its objects in this process).
    public let bytes: Int
    public let seconds: Double

    /// Whether every claim holds, on every seed or (shares of few things) on average.
    public var claimsHold: Bool { summaries.allSatisfy { $0.isControl || $0.holds } }
    /// Whether every control behaves as expected on every seed.
    public var controlsHold: Bool { summaries.allSatisfy { !$0.isControl || $0.holds } }

    /// One check over all seeds.
    public struct Summary: Sendable {
        public let claim: String
        public let quantity: String
        public let threshold: Threshold
        public let isControl: Bool
        /// Judged by its mean instead of on every seed.
        public let isPooled: Bool
        public let mean, minimum, maximum: Double
        /// Seeds on which it holds, and all seeds.
        public let holding, seeds: Int

        public var holds: Bool { isPooled ? threshold.admits(mean) : holding == seeds }
    }

    /// Every check over all seeds, claims first. Seeds have the same checks in the same order.
    public var summaries: [Summary] {
        guard let first = seeds.first else { return [] }
        return first.checks.indices.map { index in
            let checks = seeds.compactMap { index < $0.checks.count ? $0.checks[index] : nil }
            let values = checks.map(\.measured)
            let check = first.checks[index]
            return Summary(
                claim: check.claim, quantity: check.quantity, threshold: check.threshold, isControl: check.isControl,
                isPooled: check.isPooled, mean: values.reduce(0, +) / Double(values.count),
                minimum: values.contains { $0.isNaN } ? .nan : values.min() ?? .nan,
                maximum: values.contains { $0.isNaN } ? .nan : values.max() ?? .nan, holding: checks.count { $0.holds },
                seeds: checks.count)
        }
    }
}

// MARK: Text

extension LabReport {
    /// Statement of a claim or a control; "" for an unknown one.
    public func statement(of claim: String) -> String {
        Claims.all.first { $0.id == claim }?.statement ?? seeds.first?.controls.first { $0.id == claim }?.statement ?? ""
    }

    /// "claim | threshold | measured | verdict" over all seeds: mean, and the range when seeds differ.
    public var table: String {
        let rows = summaries.map { summary -> [String] in
            let range =
                summary.minimum == summary.maximum || summary.seeds == 1
                ? "" : " (\(Text.number(summary.minimum)) ... \(Text.number(summary.maximum)))"
            let verdict = (summary.holds ? "holds" : "fails") + (summary.isPooled && summary.seeds > 1 ? " on average," : "")
            return [
                (summary.isControl ? "control " : "") + summary.claim, summary.quantity, summary.threshold.text,
                Text.number(summary.mean) + range, summary.seeds == 1 ? verdict : "\(verdict) \(summary.holding)/\(summary.seeds)",
            ]
        }
        return Self.format(rows) + "\n" + Self.note + "\n"
    }

    /// The same for one seed.
    public func table(seed index: Int) -> String {
        guard seeds.indices.contains(index) else { return "" }
        let rows = seeds[index].checks.map { check in
            [
                (check.isControl ? "control " : "") + check.claim, check.quantity, check.threshold.text,
                Text.number(check.measured), check.holds ? "holds" : "fails",
            ]
        }
        return "seed \(seeds[index].seed)\n" + Self.format(rows)
    }

    private static func format(_ rows: [[String]]) -> String {
        let all = [["claim", "quantity", "threshold", "measured", "verdict"]] + rows
        let widths = (0..<5).map { column in all.map { $0[column].count }.max() ?? 0 }
        var lines = all.map { row in
            row.enumerated().map { $0 == 4 ? $1 : Text.pad($1, widths[$0]) }.joined(separator: " | ")
        }
        lines.insert(widths.map { String(repeating: "-", count: $0) }.joined(separator: "-|-"), at: 1)
        return lines.joined(separator: "\n") + "\n"
    }
}
