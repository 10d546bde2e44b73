import MRPEngine

/// The operations of a graph that depend on inputs alone and have no meaning in primitives (`HostOperation`): the processor does them before
/// the device works.
final class HostPart {
    private let program: CPUProgram
    /// Inputs that it reads.
    let inputs: [String]
    private let values: [Value: Value]

    /// Nil when the program asks for no such value.
    init?(_ graph: Graph, _ program: PrimitiveProgram, compute: Compute) throws {
        let wanted = program.arguments.compactMap { if case .host(let value) = $0.source { value } else { nil } }
        guard !wanted.isEmpty else { return nil }
        let copy = Graph()
        var copies: [Value: Value] = [:]
        func copied(_ value: Value) throws -> Value {
            if let known = copies[value] { return known }
            switch graph.origins[value.id] {
            case .input(let name): copies[value] = copy.input(name, graph.type(of: value))
            case .constant(let tensor): copies[value] = copy.constant(tensor)
            case .bound(let name): throw MRPError(.internalError, "an operation of the processor reads '\(name)'")
            case .node(let index, _):
                let node = graph.nodes[index]
                let results = try copy.apply(node.operation, node.inputs.map { try $0.map(copied) })
                for (old, new) in zip(node.outputs, results) { copies[old] = new }
            }
            return try copied(value)
        }
        for value in wanted { _ = try copied(value) }
        values = copies
        inputs = copy.inputs.map(\.name)
        self.program = try CPUProgram(copy, outputs: wanted.compactMap { copies[$0] }, state: [:], compute: compute)
    }

    /// Runs it on the inputs that `source` gives by name.
    func run(_ source: (String) -> UnsafeMutableRawBufferPointer?) throws {
        for name in inputs {
            try program.withInput(name) { memory in
                if let given = source(name) { memory.copyMemory(from: UnsafeRawBufferPointer(given)) }
            }
        }
        try program.run()
    }

    func withValue<Result>(_ value: Value, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard let copy = values[value] else { throw MRPError(.internalError, "a value of the processor is missing") }
        return try program.withOutput(copy, body)
    }

    var bytes: Int { program.bytes }
}
