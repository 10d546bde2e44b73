import CMRPKernels
import MRPEngine

extension Hierarchical {
    /// A training with labels: how many a class has, and which one a sample has among those of its class.
    struct Arm {
        let id: String
        let statement: String
        var isControl = false
        let perClass: Int
        /// From the subclass and a uniform number.
        let label: (_ subclass: Int, _ uniform: Double) -> Int

        static func all(_ options: LabOptions) -> [Arm] {
            let (subclasses, groups) = (options.subclasses, options.groups)
            let arms = [
                Arm(id: "fine", statement: "Labels are subclasses; a class is its best subclass.", perClass: subclasses) { s, _ in s },
                Arm(id: "coarse", statement: "Labels are the two classes.", perClass: 1) { _, _ in 0 },
            ]
            guard options.controls else { return arms }
            return arms + [
                Arm(
                    id: "groups", statement: "Labels are \(groups) aligned groups of subclasses in each class.", isControl: true,
                    perClass: groups
                ) { s, _ in s * groups / subclasses },
                Arm(
                    id: "random_subclasses",
                    statement: "As many labels as subclasses, drawn at random inside each class: they are memorised and teach nothing.",
                    isControl: true, perClass: subclasses
                ) { _, u in min(Int(u * Double(subclasses)), subclasses - 1) },
            ]
        }
    }
}

/// The arms with labels of one seed: the same easy samples, the same initial weights, another head each.
final class LabelledArms {
    static let numbers = ["easy", "hard", "loss", "train_accuracy", "fine_correlation", "common_correlation", "captured"]

    private let run: SeedRun
    private let source: SampleSource
    private let easy, hard: TestSet
    private let probe: FeatureProbe
    private let uniforms: Memory

    init(_ run: SeedRun) throws {
        let options = run.options
        self.run = run
        source = try SampleSource(
            run.distribution, .easy, .trainData, count: options.trainSamples, batch: options.trainBatch, compute: run.compute)
        easy = try TestSet(run.distribution, .easy, .multiViewTest, count: options.testSamples, compute: run.compute)
        hard = try TestSet(run.distribution, .hard, .singleViewTest, count: options.testSamples, compute: run.compute)
        probe = try FeatureProbe(run.distribution, kernels: options.kernels, radius: options.radius)
        uniforms = try Memory(source.count, elementBytes: 4, for: "random labels")
        mk_random_uniform(
            UInt64(run.seed), LabStream.randomLabels.value, 0, 0, Int64(source.count), uniforms.typed(Float.self).baseAddress)
    }

    func train(_ arm: Hierarchical.Arm) throws -> (ArmResult, CorrelationMap) {
        let start = monotonicSeconds()
        let options = run.options
        let uniform = uniforms.typed(Float.self)
        try source.relabel { n in
            Int(self.source.labels[n]) * arm.perClass + arm.label(Int(self.source.shown[n]), Double(uniform[n]))
        }
        let network = try PatchNetwork(options, seed: run.seed, stream: .supervisedWeights, compute: run.compute)
        let head = try LinearHead.blocks(classes: 2 * arm.perClass, network: network)
        let training = try ClassifierTraining(
            network, head, source, rates: .init(head: 0, encoder: options.supervisedRate), batch: options.trainBatch, seed: run.seed)
        try run.train(training, steps: options.supervisedSteps, phase: arm.id)
        let measured = try training.measure()
        let state = probe.measure(network, blocks: 2)
        let fine = state.lambda.dropFirst(2)
        let values = [
            TestSet.accuracy(try easy.margins(network, head, classes: 2)), TestSet.accuracy(try hard.margins(network, head, classes: 2)),
            measured.loss, measured.accuracy, fine.reduce(0, +) / Double(fine.count), (state.lambda[0] + state.lambda[1]) / 2,
            Double(state.isCaptured.dropFirst(2).count { $0 }),
        ]
        let result = ArmResult(
            id: arm.id, statement: arm.statement, isControl: arm.isControl, numbers: Array(zip(Self.numbers, values)).map { ($0, $1) },
            seconds: monotonicSeconds() - start)
        return (result, try CorrelationMap(probe))
    }
}
