import CMRPKernels
import MRPEngine
import MRPLab
import Testing

@Suite struct GeneratorTests {
    @Test func featuresAreOrthonormal() throws {
        let distribution = try PatchDistribution(LabOptions(), seed: 3)
        let d = distribution.options.dimension
        for i in 0..<distribution.featureCount {
            for j in 0...i {
                let dot = (0..<d).reduce(0) { $0 + distribution.features[i * d + $1] * distribution.features[j * d + $1] }
                #expect((dot - (i == j ? 1 : 0)).magnitude < 1e-12)
            }
        }
    }

    /// Every patch is what its provenance says: z_p v plus noise, with the sums that the definition asks for.
    @Test func samplesFollowTheDefinition() throws {
        var options = LabOptions()
        options.noise = 0
        options.featureNoise = 0
        options.singleFraction = 0.3
        let distribution = try PatchDistribution(options, seed: 1)
        let count = 2_000
        let samples = try PatchSamples(distribution, count: count)
        var singles = 0
        var others = 0
        var labels = [Int](repeating: 0, count: options.classes)
        for n in 0..<count {
            let label = Int(samples.labels[n])
            labels[label] += 1
            let isSingle = samples.isSingleView[n] == 1
            singles += isSingle ? 1 : 0
            #expect(isSingle ? (0...1).contains(samples.shownView[n]) : samples.shownView[n] == -1)
            var sums = [Int: Double]()
            var patches = [Int: Int]()
            for p in 0..<options.patches {
                let feature = Int(samples.origin[n * options.patches + p])
                let x = (0..<options.dimension).map { Double(samples.x[(n * options.patches + p) * options.dimension + $0]) }
                guard feature >= 0 else {
                    #expect(largest(x) == 0)
                    continue
                }
                let z = (0..<options.dimension).reduce(0) { $0 + x[$1] * distribution.features[feature * options.dimension + $1] }
                let rest = (0..<options.dimension).map { x[$0] - z * distribution.features[feature * options.dimension + $0] }
                #expect(largest(rest) < 1e-6)
                sums[feature, default: 0] += z
                patches[feature, default: 0] += 1
            }
            #expect(patches.values.allSatisfy { $0 == options.patchesPerFeature })
            for (feature, sum) in sums {
                let isOwn = feature / 2 == label
                let limits: ClosedRange<Double>
                if isOwn, !isSingle || feature % 2 == Int(samples.shownView[n]) {
                    limits = 1.8...2.4
                } else if isOwn {
                    limits = 0.05...0.1
                } else {
                    limits = isSingle ? 0.15...0.3 : 0.2...0.4
                    others += 1
                }
                #expect(sum >= limits.lowerBound - 1e-6 && sum <= limits.upperBound + 1e-6)
            }
            #expect(sums[2 * label] != nil && sums[2 * label + 1] != nil)
        }
        // Means of Bernoulli variables, five standard deviations wide.
        #expect((Double(singles) / Double(count) - 0.3).magnitude < 0.052)
        #expect((Double(others) / Double(count) - 18 * 0.2).magnitude < 0.2)
        #expect(labels.allSatisfy { (Double($0) / Double(count) - 0.1).magnitude < 0.034 })
    }

    @Test func noiseHasItsDeviation() throws {
        var options = LabOptions()
        options.featureNoise = 0
        options.presence = 0
        let distribution = try PatchDistribution(options, seed: 1)
        let samples = try PatchSamples(distribution, count: 50)
        var squares = 0.0
        var count = 0
        for row in 0..<50 * options.patches where samples.origin[row] < 0 {
            for j in 0..<options.dimension {
                let value = Double(samples.x[row * options.dimension + j])
                squares += value * value
                count += 1
            }
        }
        #expect(((squares / Double(count)).squareRoot() - options.noise).magnitude < 0.01 * options.noise)
    }

    @Test func aSampleIsAFunctionOfItsNumber() throws {
        let distribution = try PatchDistribution(LabOptions(), seed: 7)
        let all = try PatchSamples(distribution, count: 40)
        let part = try PatchSamples(distribution, first: 17, count: 9)
        let row = 24 * 64
        #expect(Array(all.x[17 * row..<26 * row]) == Array(part.x))
        #expect(Array(all.labels[17..<26]) == Array(part.labels))
        let other = try PatchSamples(try PatchDistribution(LabOptions(), seed: 8), count: 40)
        #expect(Array(all.labels) != Array(other.labels))
        #expect(throws: MRPError.self) { try PatchSamples(distribution, first: -1, count: 3) }
    }

    /// Samples generated in blocks give the same run as samples in memory: to the bit in stochastic descent, where steps are the
    /// same batches, and up to the order of additions in gradient descent.
    @Test(arguments: [0, 40])
    func blocksChangeNothing(batch: Int) throws {
        var options = LabOptions()
        options.kernelsPerClass = 2
        options.pretrainSamples = 120
        options.trainSamples = 120
        options.pretrainSteps = 6
        options.finetuneSteps = 4
        options.pretrainBatch = batch
        options.trainBatch = batch
        options.testSamples = 70
        options.masks = .sampled
        options.precision = .float64
        options.supervised = false
        options.controls = false
        options.seeds = 1
        let resident = try #require(try Laboratory.run(options).seeds.first)
        options.dataBytes = 53 * 24 * 64 * 8
        let report = try Laboratory.run(options)
        let blocks = try #require(report.seeds.first)
        let maps = try [resident, blocks].map { try #require($0.correlations("pretrained")) }
        let (a, b) = (Array(maps[0].values), Array(maps[1].values))
        #expect(largestDifference(a, b) < 1e-11)
        #expect(batch == 0 || a == b)
        let (test, same) = (try #require(resident.finetuning?.test), try #require(blocks.finetuning?.test))
        #expect((test.singleViewMargin.mean - same.singleViewMargin.mean).magnitude < 1e-10)
        #expect(test.singleView == same.singleView)
        options.dataBytes = 10 * 24 * 64 * 8
        if batch > 10 { #expect(throws: MRPError.self) { try Laboratory.run(options) } }
    }

    @Test func samplesGoIntoTheCallersArrays() throws {
        let distribution = try PatchDistribution(LabOptions(), seed: 4)
        let samples = try PatchSamples(distribution, count: 5)
        var labels = [Int32](repeating: -1, count: 2)
        var x = [Float](repeating: .nan, count: 2 * samples.patches * samples.dimension)
        try PatchSamples.write(
            distribution, first: 3, count: 2, x: &x, labels: &labels, isSingleView: nil, shownView: nil, origin: nil)
        #expect(labels == Array(samples.labels[3...]))
        #expect(x == Array(samples.x[(3 * samples.patches * samples.dimension)...]))
        for (first, count) in [(-1, 1), (0, -1), (0, Int.max), (Int.max, 1), (Int(Int32.max), 1)] {
            #expect(throws: MRPError.self) { try PatchSamples.check(first: first, count: count) }
        }
    }
}
