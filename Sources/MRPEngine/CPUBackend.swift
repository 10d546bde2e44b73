/// Compiles graphs for the processor (`CPUProgram`). Programs of one backend share its pool of threads: one runs at a time.
public struct CPUBackend: Backend {
    public let compute: Compute

    public init(_ compute: Compute) { self.compute = compute }

    public var precision: Precision { compute.precision }

    public func compile(_ graph: Graph, outputs: [Value], guards: [Value], state: [String: Tensor]) throws -> any Program {
        try CPUProgram(graph, outputs: outputs, guards: guards, state: state, compute: compute)
    }
}
