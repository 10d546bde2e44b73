import CMRPKernels
import MRPEngine
import Testing

@Suite struct GraphTests {
    /// x -> n linear layers with residuals -> mean square; enough to exercise reuse of memory.
    static func deepGraph(_ graph: Graph, layers: Int, rows: Int = 8, width: Int = 16) throws -> Value {
        var x = graph.input("x", TensorType([rows, width]))
        for layer in 0..<layers {
            let weight = graph.bound("w\(layer)", TensorType([width, width]))
            x = try graph.apply(MatrixProduct(transposeB: true), [x, weight, nil, x])[0]
        }
        let zero = try Tensor([rows, width])
        return try graph.apply(MeanSquaredError(), [x, graph.constant(zero)])[0]
    }

    static func weights(_ layers: Int, width: Int = 16) throws -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for layer in 0..<layers {
            let tensor = try Tensor([width, width])
            RandomStream(seed: UInt64(layer), .test).fillNormal(tensor.float32)
            for index in tensor.float32.indices { tensor.float32[index] *= 0.05 }
            result["w\(layer)"] = tensor
        }
        return result
    }

    @Test func inferenceNeedsNoMoreMemoryForMoreLayers() throws {
        var sizes: [Int] = []
        for layers in [4, 40] {
            let graph = Graph()
            let loss = try Self.deepGraph(graph, layers: layers)
            let program = try CPUProgram(graph, outputs: [loss], state: Self.weights(layers), compute: Compute())
            sizes.append(program.plan.arenaBytes)
        }
        #expect(sizes[0] == sizes[1])
    }

    // The counters belong to the process, and other tests allocate at the same time: these two have a process of their own.

    @Test func planEqualsWhatIsAllocated() async {
        await #expect(processExitsWith: .success) {
            let graph = Graph()
            let loss = try GraphTests.deepGraph(graph, layers: 3)
            let bound = try GraphTests.weights(3)
            let compute = try Compute()
            let before = mk_bytes_in_use()
            let program = try CPUProgram(graph, outputs: [loss], state: bound, compute: compute)
            #expect(Int(mk_bytes_in_use() - before) >= program.bytes)
            #expect(Int(mk_bytes_in_use() - before) <= program.bytes + 8192)
        }
    }

    @Test func noAllocationInAStep() async {
        await #expect(processExitsWith: .success) {
            let graph = Graph()
            let loss = try GraphTests.deepGraph(graph, layers: 3)
            let program = try CPUProgram(graph, outputs: [loss], state: GraphTests.weights(3), compute: Compute())
            try program.run()
            mk_reset_bytes_peak()
            let before = mk_bytes_in_use()
            try program.run()
            #expect(mk_bytes_peak() == before)
        }
    }

    @Test(arguments: Compute.Instructions.allCases.filter { mk_isa_available($0.code) != 0 })
    func threadsDoNotChangeBits(_ instructions: Compute.Instructions) throws {
        var results: [[Float]] = []
        for threads in [1, 2, 3] {
            let graph = Graph()
            let loss = try Self.deepGraph(graph, layers: 5, rows: 67, width: 48)
            let values = (0..<5).compactMap { graph.boundValue("w\($0)") }
            let gradients = try graph.gradients(of: loss, withRespectTo: values)
            let outputs = values.compactMap { gradients[$0] }
            let program = try CPUProgram(
                graph, outputs: [loss] + outputs, state: Self.weights(5, width: 48),
                compute: Compute(threads: threads, instructions: instructions))
            try program.withInput("x", as: Float.self) { RandomStream(seed: 9, .test).fillNormal($0) }
            try program.run()
            results.append(try outputs.flatMap { try program.reals($0).map { Float($0) } })
        }
        #expect(results[0] == results[1])
        #expect(results[0] == results[2])
        #expect(results[0].contains { $0 != 0 })
    }

    @Test func cancelledRunLeavesParametersAlone() throws {
        let graph = Graph()
        let loss = try Self.deepGraph(graph, layers: 2)
        let value = try #require(graph.boundValue("w0"))
        let gradient = try #require(try graph.gradients(of: loss, withRespectTo: [value])[value])
        let moments = ["m", "v"].map { graph.bound($0, TensorType([16, 16])) }
        let scalars = [graph.scalar(.learningRate), nil, graph.scalar(.step)]
        try graph.apply(AdamW(.init()), [value, gradient] + moments + scalars)
        var bound = try Self.weights(2)
        for name in ["m", "v"] { bound[name] = try Tensor([16, 16]) }
        let program = try CPUProgram(graph, outputs: [loss], state: bound, compute: Compute())
        try program.withInput("x", as: Float.self) { RandomStream(seed: 9, .test).fillNormal($0) }
        try program.write(0.1, to: .learningRate)
        try program.write(1, to: .step)
        let before = Array(try #require(bound["w0"]).float32)
        var flag: Int32 = 1
        #expect(try program.run(cancel: &flag) == false)
        #expect(Array(try #require(bound["w0"]).float32) == before)
        #expect(try program.run())
        #expect(Array(try #require(bound["w0"]).float32) != before)
    }

    @Test func sizesFromOutsideAreChecked() throws {
        for shape in [[-1], [Int.max, 2], [1 << 40, 1 << 40]] {
            let error = #expect(throws: MRPError.self) { try Tensor(shape) }
            #expect(error?.code == .memory)
        }
        for threads in [0, -1, 1025] {
            let error = #expect(throws: MRPError.self) { try Compute(threads: threads) }
            #expect(error?.message == "threads \(threads) is outside 1 ... 1024")
        }
    }
}
