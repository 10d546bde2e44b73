import CMRPKernels
import MRPEngine

/// Lemma 4.1 of arXiv 2306.04073: for l >= l* the separately trained routers always send o_1 to expert 1 and o_2 to expert 2. l* - 1 is the
/// largest number of other patches in a sample that are clearly (by 1 - delta_d) closer to the sample's own o than to the other.
enum RouterLemma {
    static let numbers = ["cosine", "l_star", "hit_1", "hit_l_star_2", "worst_rank"]

    static func run(_ run: SeedRun, id: String, deltaD: Double, deltaR: Double) throws -> ArmResult {
        let start = monotonicSeconds()
        var options = run.options
        (options.deltaD, options.deltaR) = (deltaD, deltaR)
        let distribution = try PatchDistribution(options, seed: run.seed)
        let samples = try RoutedSamples(distribution, .lemmaData, count: options.lemmaSamples, compute: run.compute)
        let test = try RoutedSamples(distribution, .lemmaTest, count: options.testSamples, compute: run.compute)
        let d = options.dimension
        let memory = try Memory(2 * d, elementBytes: 8, for: "routers")
        let routers = memory.typed(Double.self)
        mk_routed_closed_form(
            samples.x.baseAddress, samples.labels.baseAddress, Int64(samples.count), Int64(samples.patches), Int64(d), routers.baseAddress)
        for j in 0..<d { routers[d + j] = -routers[j] }
        let ranks = try (0..<2).map { label in
            try test.ranks(UnsafeBufferPointer(rebasing: routers[label * d..<(label + 1) * d]), class: Int32(label))
        }
        let star = self.star(test, distribution)
        func hit(_ capacity: Int) -> Double { (RoutedExperts.hit(ranks[0], capacity) + RoutedExperts.hit(ranks[1], capacity)) / 2 }
        let worst = Double((ranks[0] + ranks[1]).max() ?? 0) + 1
        let values = [cosine(routers, distribution), Double(star), hit(1), hit(star + 2), worst]
        let statement =
            "Routers from \(options.lemmaSamples) samples with delta_d = \(Text.number(deltaD)), delta_r = \(Text.number(deltaR))."
        return ArmResult(
            id: id, statement: statement, isControl: false, numbers: Array(zip(numbers, values)).map { ($0, $1) },
            seconds: monotonicSeconds() - start)
    }

    /// l* of these samples.
    private static func star(_ test: RoutedSamples, _ distribution: PatchDistribution) -> Int {
        let (P, d, features) = (test.patches, test.dimension, distribution.features)
        let margin = 1 - distribution.options.deltaD
        var most = 0
        for n in 0..<test.count {
            let sign = test.labels[n] == 0 ? 1.0 : -1.0
            let closer = (0..<P).count { p in
                guard p != Int(test.places[n]) else { return false }
                let patch = (n * P + p) * d
                var along = 0.0
                for j in 0..<d { along += test.x[patch + j] * (features[j] - features[d + j]) }
                return sign * along > margin
            }
            most = max(most, closer)
        }
        return most + 1
    }

    /// Between the first router and o_1 - o_2.
    private static func cosine(_ router: UnsafeMutableBufferPointer<Double>, _ distribution: PatchDistribution) -> Double {
        let d = distribution.options.dimension
        var (dot, own, other) = (0.0, 0.0, 0.0)
        for j in 0..<d {
            let difference = distribution.features[j] - distribution.features[d + j]
            dot += router[j] * difference
            own += router[j] * router[j]
            other += difference * difference
        }
        return dot / (own * other).squareRoot()
    }
}
