import CMRPKernels
import MRPEngine
import MRPLab
import Testing

/// Shapes with tails in every direction: kernels not a multiple of a vector, dimensions not of a tile, several chunks of samples.
private let shapes = [
    (ReferenceNetwork(kernels: 1, dimension: 1, patches: 1, q: 3, radius: 0.5), 1),
    (ReferenceNetwork(kernels: 13, dimension: 10, patches: 5, q: 5, radius: 0.5), 7),
    (ReferenceNetwork(kernels: 37, dimension: 17, patches: 24, q: 4, radius: 0.8), 70),
    (ReferenceNetwork(kernels: 6, dimension: 33, patches: 131, q: 2, radius: 0.3), 3),
    (ReferenceNetwork(kernels: 20, dimension: 12, patches: 3, q: 7, radius: 1), 40),
]

private func tolerance(_ precision: Precision) -> Double { precision == .float64 ? 1e-13 : 2e-5 }

@Suite struct KernelTests {
    @Test(arguments: availableInstructions, [Precision.float32, .float64])
    func reconstructionAgreesWithTheDefinition(isa: Int32, precision: Precision) throws {
        for (network, samples) in shapes {
            let bench = try #require(KernelBench(network, samples: samples, isa: isa, precision: precision))
            let w = normal(network.kernels * network.dimension, stream: 1, scale: 0.3)
            let x = normal(samples * network.patches * network.dimension, stream: 2, scale: 0.7)
            for (sampled, ownTeacher) in [(false, true), (true, true), (false, false), (true, false)] {
                let teacher = ownTeacher ? nil : normal(samples * network.kernels, stream: 3)
                let keeps = sampled ? bench.keeps(theta: 0.6, step: 4) : nil
                let expected = network.reconstruction(
                    w, x, samples: samples, tau: 1.15, theta: 0.6, keeps: keeps, teacher: teacher)
                let found = bench.reconstruction(w, x, tau: 1.15, theta: 0.6, sampled: sampled, step: 4, teacher: teacher)
                let scale = max(largest(expected.gradient), 1e-3)
                #expect(largestDifference(found.gradient, expected.gradient) <= tolerance(precision) * scale)
                #expect((found.loss - expected.loss).magnitude <= tolerance(precision) * expected.loss.magnitude)
            }
            let scores = (0..<network.kernels).map { r in
                (0..<samples).flatMap { n in (0..<network.patches).map { network.score(w, r, x, n, $0) } }.max() ?? .nan
            }
            let found = bench.reconstruction(w, x, tau: 1.15, theta: 0.6, sampled: false)
            #expect(largestDifference(found.largest, scores) <= tolerance(precision) * 10)
        }
    }

    @Test(arguments: availableInstructions, [Precision.float32, .float64])
    func featuresAndClassifierAgreeWithTheDefinition(isa: Int32, precision: Precision) throws {
        let classes = 5
        for (network, samples) in shapes {
            let bench = try #require(KernelBench(network, samples: samples, isa: isa, precision: precision, classes: classes))
            let w = normal(network.kernels * network.dimension, stream: 1, scale: 0.3)
            let u = normal(classes * network.kernels, stream: 4, scale: 0.3)
            let x = normal(samples * network.patches * network.dimension, stream: 2, scale: 0.7)
            let labels = (0..<samples).map { Int32($0 * 3 % classes) }
            let h = (0..<samples).flatMap { n in (0..<network.kernels).map { network.feature(w, $0, x, n, factor: 1.2) } }
            #expect(largestDifference(bench.features(w, x, factor: 1.2), h) <= tolerance(precision) * max(1, largest(h)))
            let expected = network.classifier(w, u, x, labels, classes: classes)
            let found = bench.classifier(w, u, x, labels, classes: classes)
            let scale = 5 * tolerance(precision)
            #expect(largestDifference(found.weights, expected.weights) <= scale * max(1e-3, largest(expected.weights)))
            #expect(largestDifference(found.head, expected.head) <= scale * max(1e-3, largest(expected.head)))
            #expect((found.loss - expected.loss).magnitude <= scale * max(1, expected.loss.magnitude))
            #expect(found.correct == expected.correct)
        }
    }

    /// The kernels' own loss, in float64, against their own gradient: h = 1e-6, error below 1e-8.
    @Test func gradientsAgreeWithCentralDifferences() throws {
        let network = ReferenceNetwork(kernels: 7, dimension: 6, patches: 5, q: 5, radius: 0.5)
        let (samples, classes, h) = (6, 3, 1e-6)
        let bench = try #require(
            KernelBench(network, samples: samples, isa: mk_isa_best(), precision: .float64, classes: classes))
        let w = normal(network.kernels * network.dimension, stream: 1, scale: 0.3)
        let u = normal(classes * network.kernels, stream: 4, scale: 0.3)
        let x = normal(samples * network.patches * network.dimension, stream: 2, scale: 0.7)
        let labels = (0..<samples).map { Int32($0 % classes) }
        func difference(_ values: [Double], _ loss: ([Double]) -> Double) -> [Double] {
            values.indices.map { index in
                var (up, down) = (values, values)
                up[index] += h
                down[index] -= h
                return (loss(up) - loss(down)) / (2 * h)
            }
        }
        // The teacher takes no gradient, so its features stay those of w.
        let teacher = bench.features(w, x, factor: 1.15)
        for sampled in [false, true] {
            let gradient = bench.reconstruction(w, x, tau: 1.15, theta: 0.5, sampled: sampled).gradient
            let numeric = difference(w) {
                bench.reconstruction($0, x, tau: 1.15, theta: 0.5, sampled: sampled, teacher: teacher).loss
            }
            #expect(largest(gradient) > 1e-3)
            #expect(largestDifference(gradient, numeric) < 1e-8)
        }
        let found = bench.classifier(w, u, x, labels, classes: classes)
        let byWeights = difference(w) { bench.classifier($0, u, x, labels, classes: classes).loss }
        let byHead = difference(u) { bench.classifier(w, $0, x, labels, classes: classes).loss }
        #expect(largest(found.weights) > 1e-3)
        #expect(largestDifference(found.weights, byWeights) < 1e-8)
        #expect(largestDifference(found.head, byHead) < 1e-8)
    }

    /// 20,000 masks against the closed form: the loss within 1 %, the gradient within 5 %.
    @Test func averageOverSampledMasksIsTheClosedForm() throws {
        let network = ReferenceNetwork(kernels: 8, dimension: 8, patches: 6, q: 4, radius: 0.5)
        let (samples, masks) = (4, 20_000)
        let bench = try #require(KernelBench(network, samples: samples, isa: mk_isa_best(), precision: .float64))
        let w = normal(network.kernels * network.dimension, stream: 1, scale: 0.3)
        let x = normal(samples * network.patches * network.dimension, stream: 2, scale: 0.7)
        let expected = bench.reconstruction(w, x, tau: 1.15, theta: 0.5, sampled: false)
        var loss = 0.0
        var gradient = [Double](repeating: 0, count: w.count)
        for step in 0..<masks {
            let found = bench.reconstruction(w, x, tau: 1.15, theta: 0.5, sampled: true, step: UInt32(step))
            loss += found.loss / Double(masks)
            for index in gradient.indices { gradient[index] += found.gradient[index] / Double(masks) }
        }
        #expect((loss - expected.loss).magnitude < 0.01 * expected.loss)
        #expect(largestDifference(gradient, expected.gradient) < 0.05 * largest(expected.gradient))
    }

    @Test(arguments: availableInstructions)
    func threadsDoNotChangeABit(isa: Int32) throws {
        let network = ReferenceNetwork(kernels: 45, dimension: 19, patches: 9, q: 5, radius: 0.5)
        let (samples, classes) = (300, 4)
        let w = normal(network.kernels * network.dimension, stream: 1, scale: 0.3)
        let u = normal(classes * network.kernels, stream: 4, scale: 0.3)
        let x = normal(samples * network.patches * network.dimension, stream: 2, scale: 0.7)
        let labels = (0..<samples).map { Int32($0 % classes) }
        var reference: [[Double]] = []
        for threads: Int32 in 1...3 {
            let bench = try #require(
                KernelBench(network, samples: samples, isa: isa, precision: .float32, threads: threads, classes: classes))
            let averaged = bench.reconstruction(w, x, tau: 1.15, theta: 0.5, sampled: false)
            let sampled = bench.reconstruction(w, x, tau: 1.15, theta: 0.5, sampled: true)
            let classified = bench.classifier(w, u, x, labels, classes: classes)
            let all = [
                averaged.gradient, averaged.largest, [averaged.loss], sampled.gradient, [sampled.loss], classified.weights,
                classified.head, classified.logits, [classified.loss],
            ]
            if reference.isEmpty { reference = all }
            #expect(all == reference)
        }
    }

    @Test func notANumberPassesThrough() throws {
        let network = ReferenceNetwork(kernels: 5, dimension: 4, patches: 3, q: 5, radius: 0.5)
        let bench = try #require(KernelBench(network, samples: 2, isa: mk_isa_best(), precision: .float32, classes: 2))
        let w = normal(20, stream: 1)
        var x = normal(24, stream: 2)
        x[5] = .nan
        #expect(bench.reconstruction(w, x, tau: 1.1, theta: 0.5, sampled: false).loss.isNaN)
        #expect(bench.classifier(w, normal(10, stream: 3), x, [0, 1], classes: 2).loss.isNaN)
        #expect(bench.features(w, x, factor: 1).contains { $0.isNaN })
    }
}
