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

    /// Appends the update of a case; the names of its moments.
    func update(_ name: String, _ graph: Graph, _ weight: Value, _ gradient: Value, clipScale: Value?) throws -> [String] {
        let given = try #require(settings[name])
        func number(_ key: String) -> Double { given[key]?.number ?? 0 }
        func moments(_ count: Int) -> [String] { (0..<count).map { "moment\($0)" } }
        func bound(_ names: [String]) -> [Value?] { names.map { graph.bound($0, graph.type(of: weight)) } }
        let rate = graph.scalar(.learningRate)
        if name == "adamw" || name == "lamb" {
            let betas = try #require(given["betas"]?.array).compactMap(\.number)
            let values = AdamW.Hyperparameters(
                beta1: betas[0], beta2: betas[1], epsilon: number("eps"), weightDecay: number("weight_decay"), layerWise: name == "lamb")
            try graph.apply(AdamW(values), [weight, gradient] + bound(moments(2)) + [rate, nil, graph.scalar(.step), clipScale])
            return moments(2)
        }
        let values = SGD.Hyperparameters(
            momentum: number("momentum"), nesterov: given["nesterov"] == .bool(true), weightDecay: number("weight_decay"),
            trust: number("trust"))
        try graph.apply(SGD(values), [weight, gradient] + bound(moments(1)) + [rate, nil, clipScale])
        return moments(1)
    }

    @Test(arguments: ["adamw", "sgd", "sgd_plain", "sgd_nesterov", "lars", "lamb", "sgd_clipped"])
    func tenStepsAgree(_ name: String) throws {
        let shape = [7, 5], count = 35
        let (graph, weight) = (Graph(), try Tensor(shape))
        let gradient = graph.input("gradient", TensorType(shape))
        let norm = try graph.apply(Norm(), [gradient])[0]
        let clipScale = try settings[name]?["clip"]?.number.map { try graph.apply(ClipScale(limit: $0), [norm])[0] }
        var state = ["weight": weight]
        for moment in try update(name, graph, graph.bound("weight", TensorType(shape)), gradient, clipScale: clipScale) {
            state[moment] = try Tensor(shape)
        }
        let program = try CPUProgram(graph, outputs: [norm], state: state, compute: Compute())
        let (start, gradients, expected) = (
            try values("\(name)/start"), try values("\(name)/gradients"), try values("\(name)/expected")
        )
        for index in 0..<count { weight[index] = Double(start[index]) }
        try program.write(#require(settings[name]?["lr"]?.number), to: .learningRate)
        for number in 0..<10 {
            try program.write(reals: Array(gradients[number * count..<(number + 1) * count]), to: "gradient")
            try program.write(Double(number + 1), to: .step)
            try program.run()
            for index in 0..<count {
                let wanted = Double(expected[number * count + index])
                #expect(abs(weight[index] - wanted) <= 2e-5 * max(1, abs(wanted)), "step \(number), weight \(index)")
            }
        }
    }

    /// An average follows the weight as it is after the step, by the decay of that step.
    @Test func averages() throws {
        let shape = [5, 9]
        let graph = Graph()
        let (weight, average) = (try Tensor(shape), try Tensor(shape))
        for index in 0..<45 { weight[index] = Double(index) }
        average.copyElements(of: weight)
        let source = graph.bound("weight", TensorType(shape))
        let gradient = graph.input("gradient", TensorType(shape))
        let momentum = graph.bound("momentum", TensorType(shape))
        try graph.apply(SGD(SGD.Hyperparameters(momentum: 0)), [source, gradient, momentum, graph.scalar(.learningRate)])
        try graph.apply(MovingAverage(), [graph.bound("average", TensorType(shape)), source, graph.scalar(.averageDecay)])
        let state = ["weight": weight, "average": average, "momentum": try Tensor(shape)]
        let program = try CPUProgram(graph, outputs: [], state: state, compute: Compute())
        var expected = (0..<45).map(Double.init)
        try program.write(0.5, to: .learningRate)
        for number in 0..<6 {
            let decay = 0.9 + 0.01 * Double(number)
            try program.write(decay, to: .averageDecay)
            try program.write(reals: (0..<45).map { Double($0 * number) }, to: "gradient")
            try program.run()
            for index in 0..<45 {
                expected[index] = decay * expected[index] + (1 - decay) * weight[index]
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
