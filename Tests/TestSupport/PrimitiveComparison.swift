import MRPEngine

/// A graph by the processor's kernels and by its meaning in primitives.
public struct PrimitiveComparison {
    /// The largest difference over the tensor's largest value, and where it was found.
    public private(set) var error = 0.0
    public private(set) var place = ""
    /// How many tensors were compared.
    public private(set) var count = 0
    public let program: PrimitiveProgram

    /// One run with updates; `state` is changed by it. `fill` writes the inputs.
    public init(
        _ graph: Graph, outputs: [Value], state: [String: Tensor], compute: Compute, fill: (any Program) throws -> Void
    ) throws {
        program = try graph.lowered(outputs: outputs)
        let host = program.arguments.compactMap { if case .host(let value) = $0.source { value } else { nil } }
        let compiled = try CPUBackend(compute).compile(graph, outputs: outputs + host, state: state)
        try fill(compiled)
        func numbers(_ memory: UnsafeRawBufferPointer, _ type: TensorType) -> [Double] {
            switch (type.element, compute.precision) {
            case (.int32, _): memory.bindMemory(to: Int32.self).map(Double.init)
            case (.real, .float32): memory.bindMemory(to: Float.self).map(Double.init)
            case (.real, .float64), (.float64, _): Array(memory.bindMemory(to: Double.self))
            }
        }
        func numbers(_ value: Value) throws -> [Double] { try compiled.withOutput(value) { numbers($0, graph.type(of: value)) } }
        func numbers(_ tensor: Tensor?) -> [Double] {
            tensor.map { numbers(UnsafeRawBufferPointer(start: $0.memory, count: $0.bytes), $0.type) } ?? []
        }
        let before = try program.arguments.map { argument in
            switch argument.source {
            case .input(let name):
                try graph.inputValue(name).flatMap { value in
                    try compiled.withInput(name) { numbers(UnsafeRawBufferPointer($0), graph.type(of: value)) }
                } ?? []
            case .bound(let name): numbers(state[name])
            case .host: [Double]()
            }
        }
        try compiled.run()
        let arguments = try zip(program.arguments, before).map { argument, before in
            if case .host(let value) = argument.source { try numbers(value) } else { before }
        }
        var interpreter = PrimitiveInterpreter(program)
        for (index, (result, actual)) in zip(program.results, interpreter.run(arguments)).enumerated() {
            if let argument = result.updates, case .bound(let name) = program.arguments[argument].source {
                compare(actual, numbers(state[name]), name)
            } else {
                compare(actual, try numbers(outputs[index]), "output \(index)")
            }
        }
    }

    private mutating func compare(_ actual: [Double], _ expected: [Double], _ name: String) {
        count += 1
        guard actual.count == expected.count else { return (error, place) = (.infinity, name) }
        let scale = expected.reduce(1e-3) { $1.isFinite ? max($0, abs($1)) : $0 }
        for (index, (a, b)) in zip(actual, expected).enumerated() where a != b && !(a.isNaN && b.isNaN) {
            let difference = abs(a - b) / scale
            if !(difference <= error) {
                (error, place) = (difference.isNaN ? .infinity : difference, "\(name)[\(index)]: \(a), kernel \(b)")
            }
        }
    }
}
