import CMRPKernels
import MRPEngine
import Testing

/// What a program promises: declared inputs and updates, scalars of a step, errors of kernels, complete kernel tables.
@Suite struct ProgramTests {
    /// Fails when it runs.
    struct Failing: HostOperation {
        var name: String { "failing" }
        func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { [TensorType([])] }
        func kernel(_ call: KernelCall) -> Kernel { Kernel { throw MRPError(.io, "the device is gone") } }
    }

    @Test func inputsSayWhoFillsThem() {
        let graph = Graph()
        _ = graph.input("images", TensorType([2, 3]), filledBy: .loader)
        let rate = graph.scalar(.learningRate)
        #expect(graph.scalar(.learningRate) == rate)
        #expect(
            graph.inputs == [
                GraphInput(name: "images", type: TensorType([2, 3]), source: .loader),
                GraphInput(name: "learning_rate", type: TensorType([], .float64), source: .schedule),
            ])
        #expect(graph.inputValue("learning_rate") == rate)
    }

    @Test(arguments: [Precision.float32, .float64]) func inputsAndOutputs(_ precision: Precision) throws {
        let graph = Graph()
        let (x, ids) = (graph.input("x", TensorType([1, 2, 2])), graph.input("ids", TensorType([2], .int32)))
        let y = try graph.apply(GatherTokens(), [x, ids, nil, nil, nil])[0]
        let program = try CPUBackend(Compute(precision: precision)).compile(graph, outputs: [y], state: [:])
        #expect(try program.write(reals: [1, 2, 3, 4.5], to: "x"))
        #expect(try program.write([1, 0], to: "ids"))
        #expect(try program.write(reals: [1.0], to: "other") == false)
        #expect(try program.write(1, to: .step) == false)
        #expect(throws: MRPError.self) { try program.write([1, 0, 1], to: "ids") }
        #expect(try program.run())
        #expect(try program.reals(y) == [3, 4.5, 1, 2])
        #expect(try program.scalar(y, 1) == 4.5)
        #expect(throws: MRPError.self) { try program.scalar(y, 4) }
        #expect(throws: MRPError.self) { try program.scalar(x) }
        #expect(try program.withInput("ids", as: Int32.self) { Array($0) } == [1, 0])
    }

    /// Against the formula, in doubles whatever the precision of the norms.
    @Test(arguments: [Precision.float32, .float64], [0.3, 2.5, 1e9])
    func clipScale(_ precision: Precision, _ limit: Double) throws {
        let graph = Graph()
        let norms = (0..<5).map { graph.input("norm\($0)", TensorType([])) }
        let scale = try graph.apply(ClipScale(limit: limit), norms)[0]
        let program = try CPUProgram(graph, outputs: [scale], state: [:], compute: Compute(precision: precision))
        let values = (0..<5).map { Double(Float(0.1 + 0.37 * Double($0))) }
        for (index, value) in values.enumerated() { try program.write(reals: [value], to: "norm\(index)") }
        try program.run()
        let sum = values.reduce(0) { $0 + $1 * $1 }
        #expect(try program.scalar(scale) == min(1, limit / (sum.squareRoot() + 1e-6)))
        #expect(graph.type(of: scale) == TensorType([], .float64))
    }

    @Test func aScaledGradientIsTheUpdate() throws {
        let (graph, type) = (Graph(), TensorType([3]))
        let (weight, gradient) = (graph.bound("weight", type), graph.input("gradient", type))
        let norm = try graph.apply(Norm(), [gradient])[0]
        let scale = try graph.apply(ClipScale(limit: 1), [norm])[0]
        let inputs = [weight, gradient, graph.bound("buffer", type), graph.scalar(.learningRate), nil, scale]
        try graph.apply(SGD(SGD.Hyperparameters(momentum: 0)), inputs)
        let tensor = try Tensor(type)
        let program = try CPUProgram(graph, outputs: [], state: ["weight": tensor, "buffer": Tensor(type)], compute: Compute())
        try program.write(reals: [3, 0, 4], to: "gradient")
        try program.write(0.5, to: .learningRate)
        try program.run()
        #expect(abs(tensor[0] + 0.3) < 1e-6 && tensor[1] == 0 && abs(tensor[2] + 0.4) < 1e-6)
    }

    @Test func anUpdateOfSomethingNotBoundIsRefused() throws {
        let graph = Graph()
        let (source, decay) = (graph.bound("source", TensorType([3])), graph.scalar(.averageDecay))
        try graph.apply(MovingAverage(), [graph.input("average", TensorType([3])), source, decay])
        let error = #expect(throws: MRPError.self) {
            try CPUBackend(Compute()).compile(graph, outputs: [], state: ["source": Tensor([3])])
        }
        #expect(error?.message == "the operation 'moving average' updates its input 0, which is not bound")
    }

    @Test func aScalarMustBeADouble() throws {
        let graph = Graph()
        let tensors = ["average", "source"].map { graph.bound($0, TensorType([3])) }
        #expect(throws: MRPError.self) { try graph.apply(MovingAverage(), tensors + [graph.input("decay", TensorType([]))]) }
        #expect(throws: MRPError.self) { try graph.apply(MovingAverage(), tensors) }
    }

    @Test func aFailingKernelLeavesTheStateAlone() throws {
        let graph = Graph()
        let (average, source) = (graph.bound("average", TensorType([3])), graph.bound("source", TensorType([3])))
        try graph.apply(MovingAverage(), [average, source, graph.scalar(.averageDecay)])
        let output = try graph.apply(Failing(), [])[0]
        let state = ["average": try Tensor([3]), "source": try Tensor([3])]
        for index in 0..<3 { state["source"]?[index] = 7 }
        let program = try CPUBackend(Compute()).compile(graph, outputs: [output], state: state)
        let error = #expect(throws: MRPError.self) { try program.run() }
        #expect(error?.message == "the device is gone")
        #expect(try #require(state["average"]).float32.allSatisfy { $0 == 0 })
        #expect(try #require(state["source"]).float32.allSatisfy { $0 == 7 })
    }

    @Test func aTableWithoutAKernelIsRefused() throws {
        let tables = [mk_kernels_reference_float64(), mk_kernels_reference_float32()] + (0..<4).map { mk_kernels_float32($0) }
        for table in tables.compactMap({ $0 }) { try Compute.check(table) }
        let size = MemoryLayout<mk_kernels>.size
        let copy = try Memory(bytes: size, for: "a table")
        for (name, place) in [
            ("gemm_scratch", MemoryLayout<mk_kernels>.offset(of: \.gemm_scratch)),
            ("conv2d", MemoryLayout<mk_kernels>.offset(of: \.conv2d)),
            ("sgd", MemoryLayout<mk_kernels>.offset(of: \.sgd)),
        ] {
            copy.base.copyMemory(from: try #require(mk_kernels_reference_float32()), byteCount: size)
            copy.base.storeBytes(of: 0, toByteOffset: try #require(place), as: Int.self)
            let error = #expect(throws: MRPError.self) { try Compute.check(copy.base.assumingMemoryBound(to: mk_kernels.self)) }
            #expect(error?.message == "the kernel table 'reference_float32' has no '\(name)'")
        }
    }
}
