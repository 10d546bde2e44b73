import Glibc

/// Meaning of unit rows, class means and contrast in primitives. Bessel functions are computed in float64 whatever the program's precision:
/// scores are differences of numbers up to 1e5.
extension UnitRows {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        let lengths = try x.squared().sum([x.last], keep: true).sqrt().clamped(1e-12, 1e30)
        return try [x / lengths, lengths.reshape([x.rows])]
    }
}

extension UnitRowsGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (y, dy) = try (inputs.at(0), inputs.at(2))
        let radial = try (dy * y).sum([y.last], keep: true)
        return try [(dy - radial * y) / inputs.at(1).reshape(Array(y.shape.dropLast()) + [1])]
    }
}

extension ClassMeans {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (x, means, counts) = try (inputs.at(0).matrix(), inputs.at(2), inputs.at(3))
        let isOfClass = try inputs.at(1).isOne(of: means.rows).converted(to: x.element)
        let replicas = Double(program.replicas)
        let found = try program.meanOverReplicas(isOfClass.sum([0])) * replicas
        let sums = try program.meanOverReplicas(isOfClass.dot(x, contracting: (0, 0))) * replicas
        let total = try counts + found
        let column = [means.rows, 1]
        let new = try (counts.reshape(column) * means + sums) / total.clamped(1, 1e30).reshape(column)
        return try [(found .> 0).reshape(column).choose(new, means), total]
    }
}

extension ContrastScores {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let problem = try ContrastPrimitives(self, inputs)
        let constant = try problem.logDensity(problem.concentrations)
        return try [(problem.logDensity(problem.joint) - constant).converted(to: inputs.at(0).element)]
    }
}

extension ContrastScoresGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let problem = try ContrastPrimitives(scores, inputs)
        let slope = try inputs.at(4).converted(to: .f64) * problem.ratio(problem.joint) * problem.concentrations
        let factors = try slope / (problem.joint * scores.temperature) / problem.lengths
        return try [factors.dot(problem.means, contracting: (1, 0)).converted(to: inputs.at(0).element)]
    }
}

/// The quantities of `von_mises_fisher.h` as float64 primitives.
private struct ContrastPrimitives {
    let means: PrimitiveValue
    /// |mean|, concentration by class [C]; |kappa mu + z / temperature| [B, C].
    let lengths: PrimitiveValue
    let concentrations: PrimitiveValue
    let joint: PrimitiveValue
    private let order: Double

    init(_ scores: ContrastScores, _ inputs: [PrimitiveValue?]) throws {
        let z = try inputs.at(0).matrix().converted(to: .f64)
        means = try inputs.at(1).converted(to: .f64)
        order = Double(means.width) / 2 - 1
        let square = try means.squared().sum([1])
        lengths = try square.sqrt().clamped(1e-12, 1e30)
        var kappa = try Self.concentration(square, width: means.width)
        if scores.unbiased {
            let counts = try inputs.at(2).converted(to: .f64) / Double(scores.views)
            let n = try PrimitiveValue.binary(.minimum, counts, inputs.at(3).converted(to: .f64))
            let isKnown = try n .>= 2
            let better = try ((n * square - 1) / (isKnown.choose(n, 2) - 1)).clamped(0, 2)
            let own = try Self.concentration(better, width: means.width)
            let known = try isKnown.converted(to: .f64).sum([0], keep: true)
            let mean = try isKnown.choose(own, 0).sum([0], keep: true) / known.clamped(1, 1e30)
            kappa = try isKnown.choose(own, (known .> 0).choose(mean.broadcast(to: kappa.shape), kappa))
        }
        concentrations = kappa
        let cosines = try z.dot(means, contracting: (1, 1)) / lengths
        let inverse = 1 / scores.temperature
        joint = try (kappa.squared() + kappa * cosines * (2 * inverse) + inverse * inverse).clamped(1e-6, 1e30).sqrt()
    }

    private static func concentration(_ square: PrimitiveValue, width: Int) throws -> PrimitiveValue {
        let kappa = try square.sqrt() * Double(width) / (1 - square)
        return try ((square .< 1) .& (kappa .< 1e5)).choose(kappa.clamped(1e-3, 1e5), 1e5)
    }

    /// log I of an order of 31 or more by Debye's expansion.
    private static func logBesselOfLarge(_ order: Double, _ x: PrimitiveValue) throws -> PrimitiveValue {
        let w = try x / order
        let r = try (w.squared() + 1).sqrt()
        let t = try r.program.constant(1, r.shape, .f64) / r
        let s = try t.squared()
        func polynomial(_ factors: [Double]) throws -> PrimitiveValue {
            var sum = try s * 0 + (factors.last ?? 0)
            for factor in factors.dropLast().reversed() { sum = try sum * s + factor }
            return sum
        }
        let u1 = try t * polynomial([3, -5]) / 24
        let u2 = try s * polynomial([81, -462, 385]) / 1152
        let u3 = try t * s * polynomial([30375, -369_603, 765_765, -425_425]) / 414_720
        let u4 = try s * s * polynomial([4_465_125, -94_121_676, 349_922_430, -446_185_740, 185_910_725]) / 39_813_120
        let sum = try (((u4 / order + u3) / order + u2) / order + u1) / order
        let eta = try r + (w / (r + 1)).log()
        return try eta * order - r.log() * 0.5 + (sum + 1).log() - 0.5 * Glibc.log(2 * .pi * order)
    }

    /// log I of the order, and the ratio of the next one to it.
    private func bessel(_ x: PrimitiveValue) throws -> (logarithm: PrimitiveValue, ratio: PrimitiveValue) {
        var at = order
        while at < 31 { at += 1 }
        var logarithm = try Self.logBesselOfLarge(at, x)
        var ratio = try (Self.logBesselOfLarge(at + 1, x) - logarithm).exp()
        let one = try x.program.constant(1, x.shape, .f64)
        while at > order {
            ratio = try one / (one * (2 * at) / x + ratio)
            logarithm = try logarithm - ratio.log()
            at -= 1
        }
        return (logarithm, ratio)
    }

    /// log C(k) = log I(k) - order log k.
    func logDensity(_ k: PrimitiveValue) throws -> PrimitiveValue { try bessel(k).logarithm - k.log() * order }

    func ratio(_ k: PrimitiveValue) throws -> PrimitiveValue { try bessel(k).ratio }
}
