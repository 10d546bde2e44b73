import CMRPKernels
import MRPEngine

/// The arms of one seed of patch_routing: the same samples, the same initial kernels and readout, trained on each size of the training set.
final class RoutedArms {
    enum Arm: String {
        case cnn, separate, joint
        case randomRouters = "random_routers"
        case frozenRouters = "frozen_routers"

        var id: String { rawValue }
        var isControl: Bool { self == .randomRouters || self == .frozenRouters }

        static func all(_ options: LabOptions) -> [Arm] {
            options.controls ? [.cnn, .separate, .joint, .randomRouters, .frozenRouters] : [.cnn, .separate, .joint]
        }

        var statement: String {
            switch self {
            case .cnn: "The plain network, which sees all patches."
            case .separate: "Two experts; their routers come first, from the labels alone, and stay."
            case .joint: "Experts and routers are trained together, with a softmax over the chosen patches."
            case .randomRouters: "Two experts with random routers, the mean of several pairs: what to look at matters, not looking at less."
            case .frozenRouters: "The same as joint with routers that stay random: they do not become proper by themselves."
            }
        }

        /// For each size of the training set.
        func numbers(_ options: LabOptions) -> [String] {
            let kinds =
                switch self {
                case .cnn: ["accuracy"]
                case .separate, .randomRouters: ["accuracy", "hit"]
                case .joint, .frozenRouters: ["accuracy", "gate_worst"]
                }
            return options.sampleSizes.flatMap { size in kinds.map { "\($0)_\(Int(size))" } }
        }

        /// Multiply-adds of a step, for progress.
        func cost(_ options: LabOptions) -> Double {
            let patches =
                switch self {
                case .cnn: options.patches
                case .separate: options.capacity
                case .randomRouters: options.capacity * options.randomRouters
                case .joint, .frozenRouters: options.jointCapacity
                }
            return 2 * Double(options.trainBatch * options.kernels * options.dimension) * Double(patches)
        }
    }

    private let run: SeedRun
    private let options: LabOptions
    private let train: RoutedSamples
    private let test: RoutedSamples

    init(_ run: SeedRun) throws {
        self.run = run
        options = run.options
        train = try RoutedSamples(run.distribution, .trainData, count: Int(options.sampleSizes.last ?? 0), compute: run.compute)
        test = try RoutedSamples(run.distribution, .multiViewTest, count: options.testSamples, compute: run.compute)
    }

    /// Batches of a training on so many samples; what is left of a pass and too small for a batch is dropped.
    static func batch(_ options: LabOptions, _ size: Int) -> Int { options.trainBatch == 0 ? size : min(options.trainBatch, size) }
    static func steps(_ options: LabOptions, _ size: Int) -> Int { options.epochs * (size / batch(options, size)) }

    func train(_ arm: Arm) throws -> ArmResult {
        let start = monotonicSeconds()
        var values: [Double] = []
        for size in options.sampleSizes.map({ Int($0) }) {
            run.reporter.begin(arm.id, steps: Self.steps(options, size), costPerStep: arm.cost(options))
            switch arm {
            case .cnn: values.append(try plain(size))
            case .separate: values += try separate(size, isReported: true) { try self.closedForm($0, size) }
            case .joint: values += try joint(size, routerRate: options.supervisedRate)
            case .randomRouters: values += try random(size)
            case .frozenRouters: values += try joint(size, routerRate: 0)
            }
            run.reporter.end()
            run.noteMemory()
        }
        return ArmResult(
            id: arm.id, statement: arm.statement, isControl: arm.isControl,
            numbers: Array(zip(arm.numbers(options), values)).map { ($0, $1) }, seconds: monotonicSeconds() - start)
    }

    /// The laboratory's own network with the readout as a fixed head: F = (a / n) sum_j f is the difference of two outputs.
    private func plain(_ size: Int) throws -> Double {
        var options = options
        options.initialDeviation = 1 / Double(options.kernels).squareRoot()
        let source = try SampleSource(
            run.distribution, .mixed, .trainData, count: size, batch: Self.batch(options, size), compute: run.compute)
        let network = try PatchNetwork(options, seed: run.seed, stream: .weights, compute: run.compute)
        let head = try LinearHead(classes: 2, network: network)
        let readout = try Memory(network.kernels, elementBytes: 8, for: "the readout")
        mk_patch_initialize(8, Int64(network.kernels), 1, UInt64(run.seed), LabStream.readout.value, readout.base)
        for (r, a) in readout.typed(Double.self).enumerated() {
            for (label, sign) in [(0, 0.5), (1, -0.5)] {
                head.set(label * network.kernels + r, sign * a / Double(options.patches))
            }
        }
        let training = try ClassifierTraining(
            network, head, source, rates: .init(head: 0, encoder: options.supervisedRate), batch: Self.batch(options, size), seed: run.seed)
        while training.step < Self.steps(options, size), training.divergedAt == nil {
            try training.advance()
            try run.reporter.stepped(loss: training.loss)
        }
        let set = try TestSet(run.distribution, .mixed, .multiViewTest, count: options.testSamples, compute: run.compute)
        return TestSet.accuracy(try set.margins(network, head))
    }

    /// Both experts' routers: w and -w of the closed form on the first `size` samples.
    private func closedForm(_ experts: RoutedExperts, _ size: Int) throws {
        let d = train.dimension
        mk_routed_closed_form(
            train.x.baseAddress, train.labels.baseAddress, Int64(size), Int64(train.patches), Int64(d), experts.routers.baseAddress)
        for j in 0..<d { experts.routers[d + j] = -experts.routers[j] }
    }

    private func separate(
        _ size: Int, capacity: Int? = nil, isReported: Bool, routers: (RoutedExperts) throws -> Void
    ) throws -> [Double] {
        let capacity = capacity ?? options.capacity
        let experts = try RoutedExperts(options, experts: 2, capacity: capacity, gated: false, seed: run.seed)
        try routers(experts)
        try descend(experts, size, routerRate: 0, isReported: isReported)
        return [try experts.accuracy(test), try experts.hits(test, capacity: capacity)]
    }

    private func joint(_ size: Int, routerRate: Double) throws -> [Double] {
        let experts = try RoutedExperts(
            options, experts: options.jointExperts, capacity: options.jointCapacity, gated: true, seed: run.seed)
        fill(experts, deviation: options.routerDeviation, draw: 0)
        try descend(experts, size, routerRate: routerRate, isReported: true)
        return [try experts.accuracy(test), try experts.gateHits(test).min() ?? .nan]
    }

    /// The mean over pairs of random routers; of the pairs' steps the first's are told.
    private func random(_ size: Int) throws -> [Double] {
        var sums = [0.0, 0.0]
        for pair in 0..<options.randomRouters {
            let values = try separate(size, isReported: pair == 0) { self.fill($0, deviation: 1, draw: pair + 1) }
            for (index, value) in values.enumerated() { sums[index] += value / Double(options.randomRouters) }
        }
        return sums
    }

    private func fill(_ experts: RoutedExperts, deviation: Double, draw: Int) {
        var values = [Float](repeating: 0, count: experts.routers.count)
        mk_random_normal(
            UInt64(run.seed), LabStream.routers.value, UInt32(truncatingIfNeeded: draw), 0, Int64(values.count), &values)
        for (index, value) in values.enumerated() { experts.routers[index] = deviation * Double(value) }
    }

    private func descend(_ experts: RoutedExperts, _ size: Int, routerRate: Double, isReported: Bool) throws {
        let order = try BatchOrder(count: size, size: Self.batch(options, size), seed: run.seed, stream: .trainOrder)
        for _ in 0..<Self.steps(options, size) {
            let loss = experts.step(train, order.next(), rate: options.supervisedRate, routerRate: routerRate)
            if isReported { try run.reporter.stepped(loss: loss) }
            try run.compute.check()
        }
    }

    /// The control that experts which see all patches are the plain network: two computations of one function.
    func allPatches(_ cnn: ArmResult?) throws -> ArmResult {
        let start = monotonicSeconds()
        let size = Int(options.sampleSizes.first ?? 0)
        let found = try separate(size, capacity: options.patches, isReported: false) { try self.closedForm($0, size) }
        let difference = found[0] - (cnn?.number("accuracy_\(size)") ?? .nan)
        return ArmResult(
            id: "all_patches", statement: "Experts that see all patches are the plain network.", isControl: true,
            numbers: [("accuracy_\(size)", found[0]), ("difference", difference)], seconds: monotonicSeconds() - start)
    }
}
