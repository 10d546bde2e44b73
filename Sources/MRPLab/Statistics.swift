import Glibc

/// What a few seeds say about all of them.
enum Statistics {
    static func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }

    /// The 95 % confidence interval of the mean (Student's t); nil for fewer than two values.
    static func interval(_ values: [Double]) -> (low: Double, high: Double)? {
        guard values.count > 1 else { return nil }
        let mean = mean(values)
        let squares = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let error = (squares / Double(values.count - 1) / Double(values.count)).squareRoot()
        let half = quantile(freedom: values.count - 1) * error
        return (mean - half, mean + half)
    }

    /// The 95 % confidence interval of a share (Wilson).
    static func interval(_ part: Int, of whole: Int) -> (low: Double, high: Double) {
        let (z, n) = (1.96, Double(whole))
        let share = Double(part) / n
        let middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        let half = z / (1 + z * z / n) * (share * (1 - share) / n + z * z / (4 * n * n)).squareRoot()
        return (max(0, middle - half), min(1, middle + half))
    }

    /// The 97.5 % quantile of Student's t: a table for few degrees of freedom, then the expansion in 1 / freedom (Abramowitz & Stegun
    /// 26.7.5), within 0.001 of it.
    static func quantile(freedom: Int) -> Double {
        let table = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365]
        guard freedom > table.count else { return table[max(freedom, 1) - 1] }
        let (z, n) = (1.959964, Double(freedom))
        let (z3, z5, z7) = (z * z * z, z * z * z * z * z, z * z * z * z * z * z * z)
        return z + (z3 + z) / (4 * n) + (5 * z5 + 16 * z3 + 3 * z) / (96 * n * n)
            + (3 * z7 + 19 * z5 + 17 * z3 - 15 * z) / (384 * n * n * n)
    }

    /// P(X <= part), X binomial.
    static func probability(ofAtMost part: Int, of whole: Int, share: Double) -> Double {
        guard part < whole, share < 1 else { return part >= whole ? 1 : 0 }
        guard share > 0 else { return 1 }
        var sum = 0.0
        for count in 0...max(part, 0) where part >= 0 {
            let ways = lgamma(Double(whole + 1)) - lgamma(Double(count + 1)) - lgamma(Double(whole - count + 1))
            sum += exp(ways + Double(count) * log(share) + Double(whole - count) * log(1 - share))
        }
        return sum
    }
}
