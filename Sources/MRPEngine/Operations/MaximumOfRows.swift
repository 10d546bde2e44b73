import CMRPKernels

/// The largest of an image's rows at each place, each row times its factor: y[b, w] = max over r of factors[b, r] x[b, r, w], the union of soft
/// masks. Inputs: x [B, R, W], factors [B, R]. Outputs: y [B, W]; the winning rows [B, W] int32, of equal ones the first. The gradient takes
/// that choice as constant: it flows to the winner and its factor alone.
public struct MaximumOfRows: Operation {
    public init() {}

    public var name: String { "maximum of rows" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let x = inputs[0], let factors = inputs[1], x.shape.count == 3, x.shape[1] >= 1,
            factors.shape == [x.shape[0], x.shape[1]]
        else { throw shapeError(name, "takes x [batch, rows, width] and factors [batch, rows]") }
        return [TensorType([x.shape[0], x.width]), TensorType([x.shape[0], x.width], .int32)]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], node.wanted.contains(true) else { return node.noGradients }
        let operation = MaximumOfRowsGradient(wantsX: node.wanted[0], wantsFactors: node.wanted[1])
        var outputs = try graph.apply(operation, [node.inputs[0], node.inputs[1], node.outputs[1], gradient])[...]
        return node.wanted.map { $0 ? outputs.removeFirst() : nil }
    }

    static func problem(_ call: KernelCall) -> mk_row_maximum {
        let shape = call.type(0).shape.map(Int64.init)
        var problem = mk_row_maximum()
        (problem.batch, problem.rows, problem.width) = (shape[0], shape[1], shape[2])
        problem.x = call.input(0).map { UnsafeRawPointer($0) }
        problem.factors = call.input(1).map { UnsafeRawPointer($0) }
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = Self.problem(call)
        problem.y = call.outputs[0]
        problem.winners = call.outputs[1]?.assumingMemoryBound(to: Int32.self)
        let (pool, run, prepared) = (call.pool, call.kernels.row_maximum, problem)
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0) } }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0), rows = x.shape[1]
        let products = try x * inputs.at(1).reshape([x.shape[0], rows, 1])
        let largest = try products.max([1], keep: true)
        let winners = try (products .== largest).choose(program.iota(rows).reshape([rows, 1]), Double(rows - 1)).reduce(.minimum, [1])
        return [try largest.reshape([x.shape[0], x.width]), winners]
    }
}

/// Inputs: x, factors, the winning rows, the gradient of the maxima. Outputs: those wanted of dx, dfactors.
struct MaximumOfRowsGradient: Operation {
    let wantsX: Bool
    let wantsFactors: Bool

    var name: String { "maximum of rows gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 4, let x = inputs[0], let factors = inputs[1] else { throw shapeError(name, "needs rows and factors") }
        return (wantsX ? [x] : []) + (wantsFactors ? [factors] : [])
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = MaximumOfRows.problem(call)
        problem.winners = call.indices(2).map { UnsafeMutablePointer(mutating: $0) }
        let (pool, run, prepared, gradient) = (call.pool, call.kernels.row_maximum_gradient, problem, call.input(3))
        let (dx, factors) = (wantsX ? call.outputs[0] : nil, wantsFactors ? call.outputs[wantsX ? 1 : 0] : nil)
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0, gradient, dx, factors) } }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0), (batch, rows) = (x.shape[0], x.shape[1])
        let isWinner = try inputs.at(2).reshape([batch, 1, x.width]) .== program.iota(rows).reshape([rows, 1])
        let won = try isWinner.choose(inputs.at(3).reshape([batch, 1, x.width]), 0)
        return try (wantsX ? [won * inputs.at(1).reshape([batch, rows, 1])] : []) + (wantsFactors ? [(won * x).sum([2])] : [])
    }
}
