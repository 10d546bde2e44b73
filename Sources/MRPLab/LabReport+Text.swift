extension LabReport {
    /// "claim | quantity | threshold | measured | verdict" over all seeds: the mean, its 95 % confidence interval where the claim speaks of it,
    /// and the range when seeds differ.
    public var table: String {
        let rows = summaries.map { summary -> [String] in
            let verdict = summary.holds ? "holds" : "fails"
            return [
                (summary.isControl ? "control " : "") + summary.claim, summary.quantity, summary.thresholdText, summary.measured,
                summary.seeds == 1 ? verdict : "\(verdict) \(summary.holding)/\(summary.seeds)",
            ]
        }
        return Self.format(rows) + "\n" + note + "\n"
    }

    /// The same for one seed.
    public func table(seed index: Int) -> String {
        guard seeds.indices.contains(index) else { return "" }
        let rows = seeds[index].checks.map { check in
            [
                (check.isControl ? "control " : "") + check.claim, check.quantity, check.thresholdText, Text.number(check.measured),
                check.holds ? "holds" : "fails",
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

extension LabReport.Summary {
    /// "12.04 ± 0.41 (10 ... 14)".
    fileprivate var measured: String {
        var text = Text.number(mean)
        if case .mean = form, let interval { text += " ± " + Text.number((interval.high - interval.low) / 2) }
        return minimum == maximum || seeds == 1 ? text : text + " (\(Text.number(minimum)) ... \(Text.number(maximum)))"
    }
}
