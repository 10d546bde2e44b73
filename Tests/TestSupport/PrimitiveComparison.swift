import MRPEngine

/// A graph by the executor's kernels and by its meaning in primitives.
public struct PrimitiveComparison {
    /// The largest difference over the tensor's largest value, and where it was found.
    public private(set) var error = 0.0
    public private(set) var place = ""
    /// How many tensors were compared.
    public private(set) var count = 0
    public let program: PrimitiveProgram

    /// One run with updates; `bound` is changed by it. `fill` writes the inputs.
    public init(
        _ graph: Graph, outputs: [Value], bound: [String: Tensor], compute: Compute, fill: (Executor) throws -> Void = { _ in }
    ) throws {
        program = try graph.lowered(outputs: outputs)
        let host = program.arguments.compactMap { if case .host(let value) = $0.source { value } else { nil } }
        let executor = try Executor(graph, outputs: outputs + host, bound: bound, compute: compute)
        try fill(executor)
        func numbers(_ tensor: Tensor?) -> [Double] {
            guard let tensor else { return [] }
            return (0..<tensor.count).map { tensor.type.element == .int32 ? Double(tensor.int32[$0]) : tensor[$0] }
        }
        func numbers(_ value: Value) -> [Double] {
            let type = graph.type(of: value)
            guard type.element == .int32 else { return (0..<type.count).map { executor.scalar(value, $0) } }
            let integers = executor.pointer(to: value)?.assumingMemoryBound(to: Int32.self)
            return (0..<type.count).map { integers.map { start in Double(start[$0]) } ?? .nan }
        }
        let before = program.arguments.map { argument in
            switch argument.source {
            case .input(let name): numbers(executor.input(name))
            case .bound(let name): numbers(bound[name])
            case .host: [Double]()
            }
        }
        executor.run()
        let arguments = zip(program.arguments, before).map { argument, before in
            if case .host(let value) = argument.source { numbers(value) } else { before }
        }
        var interpreter = PrimitiveInterpreter(program)
        for (index, (result, actual)) in zip(program.results, interpreter.run(arguments)).enumerated() {
            if let argument = result.updates, case .bound(let name) = program.arguments[argument].source {
                compare(actual, numbers(bound[name]), name)
            } else {
                compare(actual, numbers(outputs[index]), "output \(index)")
            }
        }
    }

    private mutating func compare(_ actual: [Double], _ expected: [Double], _ name: String) {
        count += 1
        guard actual.count == expected.count else { return (error, place) = (.infinity, name) }
        let scale = expected.reduce(1e-3) { $1.isFinite ? max($0, abs($1)) : $0 }
        for (index, (a, b)) in zip(actual, expected).enumerated() where a != b && !(a.isNaN && b.isNaN) {
            let difference = abs(a - b) / scale
            if !(difference <= error) { (error, place) = (difference.isNaN ? .infinity : difference, "\(name)[\(index)]: \(a), kernel \(b)") }
        }
    }
}
