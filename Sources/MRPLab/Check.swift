/// The range a measured value must be in.
public enum Threshold: Sendable, Equatable {
    case atLeast(Double)
    case atMost(Double)
    case between(Double, Double)

    /// NaN is never admitted.
    public func admits(_ value: Double) -> Bool {
        switch self {
        case .atLeast(let limit): return value >= limit
        case .atMost(let limit): return value <= limit
        case .between(let low, let high): return value >= low && value <= high
        }
    }

    /// Infinite where there is no limit.
    public var limits: (low: Double, high: Double) {
        switch self {
        case .atLeast(let limit): return (limit, .infinity)
        case .atMost(let limit): return (-.infinity, limit)
        case .between(let low, let high): return (low, high)
        }
    }

    public var text: String {
        switch self {
        case .atLeast(let limit): return ">= \(Text.number(limit))"
        case .atMost(let limit): return "<= \(Text.number(limit))"
        case .between(let low, let high): return "\(Text.number(low)) ... \(Text.number(high))"
        }
    }
}

/// One measured quantity of a claim or a control against its threshold.
public struct Check: Sendable {
    /// Subject of the threshold.
    public enum Form: Sendable, Equatable {
        /// Every seed meets it.
        case everySeed
        /// The mean over all seeds there are meets it; single seeds lie around the mean with this standard deviation.
        case mean(deviation: Double)
        /// At least this share of all seeds there are meets it.
        case share(Double)
    }

    /// The claim or control that it belongs to, for example `all_semantics_captured`.
    public let claim: String
    public let quantity: String
    public let threshold: Threshold
    public let measured: Double
    public let isControl: Bool
    public let form: Form

    /// For this seed alone.
    public var holds: Bool { threshold.admits(measured) }
    /// "<= 0.2", "9 ... 14 on average", "<= 0 on 90 % of seeds".
    public var thresholdText: String { threshold.text + form.text }

    init(
        _ claim: String, _ quantity: String, _ threshold: Threshold, _ measured: Double, isControl: Bool = false,
        form: Form = .everySeed
    ) {
        self.claim = claim
        self.quantity = quantity
        self.threshold = threshold
        self.measured = measured
        self.isControl = isControl
        self.form = form
    }
}

extension Check.Form {
    var text: String {
        switch self {
        case .everySeed: ""
        case .mean: " on average"
        case .share(let share): " on \(Text.number(100 * share)) % of seeds"
        }
    }

    /// For programs.
    var name: String {
        switch self {
        case .everySeed: "every_seed"
        case .mean: "mean"
        case .share: "share"
        }
    }

    /// The verdict over the seeds that were run. A statement about all seeds fails when these few contradict it at the 1 % level: when their
    /// mean is further outside the threshold than 2.58 standard errors, or when so few holding seeds have a probability below 1 %.
    func holds(_ values: [Double], _ threshold: Threshold) -> Bool {
        let holding = values.count { threshold.admits($0) }
        switch self {
        case .everySeed: return holding == values.count
        case .mean(let deviation):
            let mean = Statistics.mean(values)
            let allowance = 2.58 * deviation / Double(values.count).squareRoot()
            return mean >= threshold.limits.low - allowance && mean <= threshold.limits.high + allowance
        case .share(let share): return Statistics.probability(ofAtMost: holding, of: values.count, share: share) >= 0.01
        }
    }
}

/// Plain text without Foundation.
enum Text {
    /// At most four decimals, fewer when they are zeros.
    static func number(_ value: Double) -> String {
        guard value.isFinite else { return value.isNaN ? "-" : value < 0 ? "-inf" : "inf" }
        guard abs(value) < 1e9 else { return "\(value)" }
        guard value == 0 || abs(value) >= 1e-4 else { return scientific(value) }
        let scaled = Int((abs(value) * 10_000).rounded())
        var fraction = String(scaled % 10_000 + 10_000).dropFirst()
        while fraction.last == "0" { fraction.removeLast() }
        return (value < 0 ? "-" : "") + String(scaled / 10_000) + (fraction.isEmpty ? "" : "." + fraction)
    }

    /// "8.66e-06": three digits of a number below 1.
    private static func scientific(_ value: Double) -> String {
        guard value.magnitude >= 1e-300 else { return "0" }
        var (mantissa, exponent) = (value, 0)
        while mantissa.magnitude < 0.9995 {
            mantissa *= 10
            exponent += 1
        }
        return number((mantissa * 100).rounded() / 100) + "e-" + (exponent < 10 ? "0" : "") + String(exponent)
    }

    static func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}
