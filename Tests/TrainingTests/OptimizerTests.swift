import MRPEngine
import MRPTraining
import Testing

/// Ten steps of each optimiser against PyTorch's and timm's (tools/fixtures/make_optimizer_fixtures.py).
@Suite struct OptimizerTests {
    let file: SafetensorsFile
    let settings: JSON

    init() throws {
        file = try SafetensorsFile(path: Fixture.folder + "optimizers.safetensors")
        settings = try JSON.parse(#require(file.metadata["settings"]))
    }

    func values(_ name: String) throws -> [Float] {
        let entry = try #require(file.entries[name])
        var result = [Float](repeating: 0, count: entry.count)
        try result.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
        return result
    }

    /// The update of a case, and its moments.
    func operation(_ name: String, _ step: StepSettings) throws -> (Operation, moments: Int) {
        let given = try #require(settings[name])
        func number(_ key: String) -> Double { given[key]?.number ?? 0 }
        step.learningRate = number("lr")
        if name == "adamw" || name == "lamb" {
            let betas = try #require(given["betas"]?.array).compactMap(\.number)
            let values = AdamW.Hyperparameters(
                beta1: betas[0], beta2: betas[1], epsilon: number("eps"), weightDecay: number("weight_decay"), layerWise: name == "lamb")
            return (AdamW(values, settings: step), 2)
        }
        let values = SGD.Hyperparameters(
            momentum: number("momentum"), nesterov: given["nesterov"] == .bool(true), weightDecay: number("weight_decay"),
            trust: number("trust"))
        return (SGD(values, settings: step), 1)
    }

    @Test(arguments: ["adamw", "sgd", "sgd_plain", "sgd_nesterov", "lars", "lamb", "sgd_clipped"])
    func tenStepsAgree(_ name: String) throws {
        let shape = [7, 5], count = 35
        let (step, graph, weight) = (StepSettings(), Graph(), try Tensor(shape))
        let (update, moments) = try operation(name, step)
        let gradient = graph.input("gradient", TensorType(shape))
        let norm = try graph.apply(Norm(), [gradient])[0]
        var bound = ["weight": weight]
        let names = (0..<moments).map { "moment\($0)" }
        for name in names { bound[name] = try Tensor(shape) }
        try graph.apply(
            update, [graph.bound("weight", TensorType(shape)), gradient] + names.map { graph.bound($0, TensorType(shape)) })
        let executor = try Executor(graph, outputs: [norm], bound: bound, compute: Compute())
        let (start, gradients, expected) = (
            try values("\(name)/start"), try values("\(name)/gradients"), try values("\(name)/expected")
        )
        for index in 0..<count { weight[index] = Double(start[index]) }
        let input = try #require(executor.input("gradient"))
        for number in 0..<10 {
            for index in 0..<count { input[index] = Double(gradients[number * count + index]) }
            step.step = number + 1
            executor.run(cancel: nil) {
                if let limit = settings[name]?["clip"]?.number {
                    step.gradientScale = min(1, limit / (executor.scalar(norm) + 1e-6))
                }
                return true
            }
            for index in 0..<count {
                let wanted = Double(expected[number * count + index])
                #expect(abs(weight[index] - wanted) <= 2e-5 * max(1, abs(wanted)), "step \(number), weight \(index)")
            }
        }
    }

    /// An average follows the weight as it is after the step, by the decay of that step.
    @Test func averages() throws {
        let shape = [5, 9]
        let (step, graph) = (StepSettings(), Graph())
        let (weight, average) = (try Tensor(shape), try Tensor(shape))
        for index in 0..<45 { weight[index] = Double(index) }
        average.copyElements(of: weight)
        let source = graph.bound("weight", TensorType(shape))
        let gradient = graph.input("gradient", TensorType(shape))
        try graph.apply(
            SGD(SGD.Hyperparameters(momentum: 0), settings: step), [source, gradient, graph.bound("momentum", TensorType(shape))])
        try graph.apply(MovingAverage(settings: step, decay: \.averageDecay), [graph.bound("average", TensorType(shape)), source])
        let bound = ["weight": weight, "average": average, "momentum": try Tensor(shape)]
        let executor = try Executor(graph, outputs: [], bound: bound, compute: Compute())
        var expected = (0..<45).map(Double.init)
        for number in 0..<6 {
            step.learningRate = 0.5
            step.averageDecay = 0.9 + 0.01 * Double(number)
            for index in 0..<45 { executor.input("gradient")?[index] = Double(index * number) }
            executor.run()
            for index in 0..<45 {
                expected[index] = step.averageDecay * expected[index] + (1 - step.averageDecay) * weight[index]
                #expect(abs(average[index] - expected[index]) <= 1e-5 * max(1, abs(expected[index])), "step \(number), weight \(index)")
            }
        }
    }

    @Test func courses() {
        func rates(_ course: LearningRateSchedule.Course) -> [Double] {
            let schedule = LearningRateSchedule(
                peak: 1, minimum: 0.05, warmupEpochs: 1, epochs: 5, stepsPerEpoch: 2, course: course)
            return (0..<10).map(schedule.rate)
        }
        #expect(rates(.constant) == [0, 0.5, 1, 1, 1, 1, 1, 1, 1, 1])
        #expect(rates(.multistep(milestones: [2, 3.5, 4], factor: 0.25)) == [0, 0.5, 1, 1, 0.25, 0.25, 0.25, 0.0625, 0.05, 0.05])
        #expect(rates(.cosine).last! < 0.1 && rates(.cosine)[2] == 1)
    }
}
