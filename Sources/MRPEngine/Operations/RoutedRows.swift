import CMRPKernels

extension Graph {
    /// The rows of the tokens x [.., W] that a route sends on, [N, W], sorted by expert.
    public func dispatch(_ x: Value, _ route: Route) throws -> Value {
        try apply(DispatchRows(), [x, route.sources, route.places])[0]
    }

    /// The routed rows y [N, W] back at the places of their tokens, each times its gate [N], those of one token added, on top of the residual:
    /// [`shape`.., W].
    public func combine(_ y: Value, _ route: Route, gates: Value, shape: [Int], residual: Value? = nil) throws -> Value {
        try apply(CombineRows(shape: shape), [y, route.sources, route.places, gates, residual])[0]
    }
}

/// The part of a problem that both directions have.
private func routedRows(_ call: KernelCall, gates: UnsafeMutableRawPointer?, width: Int) -> mk_routed_rows {
    let places = call.inputType(2) ?? TensorType([0, 1])
    return mk_routed_rows(
        rows: Int64(places.rows), ways: Int64(places.width), count: Int64(call.type(1).count), width: Int64(width),
        sources: call.indices(1), places: call.indices(2), gates: gates)
}

/// y[i] = x[sources[i]]. Inputs: x [.., W], sources [N] int32 in range, places (nil: no gradient is wanted). Output: [N, W].
public struct DispatchRows: Operation {
    public init() {}

    public var name: String { "dispatch rows" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 3, let x = inputs[0], let sources = inputs[1], sources.element == .int32,
            inputs[2].map({ $0.rows == x.rows }) ?? true
        else { throw shapeError(name, "needs rows and the lists of a route") }
        return [TensorType([sources.count, x.width])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[0], node.wanted[0], node.inputs[2] != nil else {
            return node.noGradients
        }
        let back = CombineRows(shape: Array(graph.shape(of: x).dropLast()))
        return node.gradients([try graph.apply(back, [gradient, node.inputs[1], node.inputs[2], nil, nil])[0]])
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let problem = routedRows(call, gates: nil, width: call.type(0).width)
        let (pool, run, x, y) = (call.pool, call.kernels.dispatch_rows, call.input(0), call.outputs[0])
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0, x, nil, y, nil) } }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try program.apply(.gather(dimension: 0), [inputs.at(0).matrix(), inputs.at(1)])]
    }
}

/// out[r] = residual[r] + sum over the places i of row r, in order, of gates[i] y[i].
///
/// Inputs: y [N, W], sources [N], places [rows, ways], gates [N]? (nil: all 1), residual [.., W]?. Output: [`shape`.., W], whose rows are those
/// of the places.
public struct CombineRows: Operation {
    /// All dimensions of the output but the last.
    let shape: [Int]

    public init(shape: [Int]) { self.shape = shape }

    enum Input {
        static let gates = 3
        static let residual = 4
    }

    public var name: String { "combine rows" }
    public var reusableInputs: [Int] { [Input.residual] }
    public var addendForm: (operation: Operation, index: Int)? { (self, Input.residual) }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 5, let y = inputs[0], let sources = inputs[1], let places = inputs[2], sources.count == y.rows else {
            throw shapeError(name, "needs routed rows and the lists of their route")
        }
        let output = TensorType(shape + [y.width])
        guard output.rows == places.rows, inputs[Input.residual].map({ $0.count == output.count }) ?? true else {
            throw shapeError(name, "\(places.rows) rows for an output of shape \(output.shape)")
        }
        return [output]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        var result = [Value?](repeating: nil, count: node.inputs.count)
        if node.wanted[0] || node.wanted[Input.gates] {
            let inputs = [gradient, node.inputs[1], node.inputs[2], node.inputs[Input.gates], node.inputs[0]]
            let outputs = try graph.apply(CombineRowsGradient(), inputs)
            if node.wanted[0] { result[0] = outputs[0] }
            if node.wanted[Input.gates] { result[Input.gates] = outputs[1] }
        }
        if node.wanted[Input.residual] { result[Input.residual] = gradient }
        return result
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let problem = routedRows(call, gates: call.input(Input.gates), width: call.type(0).width)
        let (pool, run, y, residual) = (call.pool, call.kernels.combine_rows, call.input(0), call.input(Input.residual))
        let output = call.outputs[0]
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0, y, residual, output) } }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (y, places) = (try inputs.at(0), try inputs.at(2))
        var routed = y
        if let gates = inputs.optional(Input.gates) { routed = try y * gates.reshape([y.rows, 1]) }
        routed = try routed.reshape([1, y.rows, y.width])
        var sum = try inputs.optional(Input.residual)?.reshape([places.rows, y.width])
        for way in 0..<places.width {
            let rows = try routed.gatheredRows(places.slice(1, way..<(way + 1)).reshape([places.rows])).reshape([places.rows, y.width])
            sum = try sum.map { try $0 + rows } ?? rows
        }
        guard let sum else { throw MRPError(.internalError, "\(name): no ways") }
        return [try sum.reshape(shape + [y.width])]
    }
}

/// Inputs: dout, sources, places, gates?, y. Outputs: dy [N, W] and the gradient of the gates [N].
struct CombineRowsGradient: Operation {
    var name: String { "combine rows gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 5, let y = inputs[4] else { throw shapeError(name, "needs the routed rows") }
        return [y, TensorType([y.rows])]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let problem = routedRows(call, gates: call.input(3), width: call.type(0).width)
        let (pool, run, gradient, y) = (call.pool, call.kernels.dispatch_rows, call.input(0), call.input(4))
        let outputs = call.outputs
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0, gradient, y, outputs[0], outputs[1]) } }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let rows = try program.apply(.gather(dimension: 0), [inputs.at(0).matrix(), inputs.at(1)])
        let scaled = try inputs.optional(3).map { try rows * $0.reshape([rows.rows, 1]) } ?? rows
        return [scaled, try (rows * inputs.at(4)).sum([1])]
    }
}
