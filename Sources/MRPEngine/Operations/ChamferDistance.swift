import CMRPKernels

/// Chamfer distance with squared distances (Fan et al. 2017; Pang et al. 2022, Point-MAE), the mean over sets of
///   mean over i of min over j |a_i - b_j|^2  +  mean over j of min over i |a_i - b_j|^2.
///
/// Inputs: a [S, N, W], b [S, M, W]. Outputs: loss (scalar); the nearest point of b for each of a [S, N] and of a for each of b [S, M], int32,
/// of equal ones the first. The gradient takes that choice as constant.
public struct ChamferDistance: Operation {
    public init() {}

    public var name: String { "chamfer distance" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let a = inputs[0], let b = inputs[1], a.shape.count == 3, b.shape.count == 3, a.shape[0] == b.shape[0],
            a.width == b.width, a.shape.allSatisfy({ $0 > 0 }), b.shape[1] > 0
        else { throw shapeError(name, "a must be [sets, points, width] and b [sets, other points, width]") }
        return [TensorType([]), TensorType([a.shape[0], a.shape[1]], .int32), TensorType([b.shape[0], b.shape[1]], .int32)]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let operation = ChamferDistanceGradient(wantsA: node.wanted[0], wantsB: node.wanted[1])
        var outputs = try graph.apply(operation, [node.inputs[0], node.inputs[1], node.outputs[1], node.outputs[2], gradient])[...]
        return node.wanted.prefix(2).map { $0 ? outputs.removeFirst() : nil }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = chamferProblem(call)
        problem.nearest_a = call.outputs[1]?.assumingMemoryBound(to: Int32.self)
        problem.nearest_b = call.outputs[2]?.assumingMemoryBound(to: Int32.self)
        let (pool, run, prepared, loss) = (call.pool, call.kernels.chamfer, problem, call.outputs[0])
        let scratch = withUnsafePointer(to: problem) { call.kernels.chamfer_scratch($0) }
        return Kernel(scratch: scratch) { withUnsafePointer(to: prepared) { run(pool, $0, loss) } }
    }
}

/// Inputs: a, b, the nearest ones of both, the loss's gradient. Outputs: those wanted of da, db.
struct ChamferDistanceGradient: Operation {
    let wantsA: Bool
    let wantsB: Bool

    var name: String { "chamfer distance gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 5, let a = inputs[0], let b = inputs[1] else { throw shapeError(name, "needs both sets") }
        return (wantsA ? [a] : []) + (wantsB ? [b] : [])
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = chamferProblem(call)
        problem.nearest_a = call.indices(2).map { UnsafeMutablePointer(mutating: $0) }
        problem.nearest_b = call.indices(3).map { UnsafeMutablePointer(mutating: $0) }
        let (pool, run, prepared, gradient) = (call.pool, call.kernels.chamfer_gradient, problem, call.input(4))
        let (da, db) = (wantsA ? call.outputs[0] : nil, wantsB ? call.outputs[wantsA ? 1 : 0] : nil)
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0, gradient, da, db) } }
    }
}

private func chamferProblem(_ call: KernelCall) -> mk_chamfer {
    let (a, b) = (call.type(0).shape, call.type(1).shape)
    var problem = mk_chamfer()
    (problem.sets, problem.rows_a, problem.rows_b, problem.width) = (Int64(a[0]), Int64(a[1]), Int64(b[1]), Int64(a[2]))
    problem.a = call.input(0).map { UnsafeRawPointer($0) }
    problem.b = call.input(1).map { UnsafeRawPointer($0) }
    return problem
}

extension ChamferDistance {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (a, b) = (try inputs.at(0), try inputs.at(1))
        let (sets, n, m, width) = (a.shape[0], a.shape[1], b.shape[1], a.shape[2])
        let squares = try (a.reshape([sets, n, 1, width]) - b.reshape([sets, 1, m, width])).squared().sum([3])
        let (toB, toA) = (try squares.reduce(.minimum, [2], keep: true), try squares.reduce(.minimum, [1], keep: true))
        let nearestA = try (squares .== toB).choose(program.iota(m), Double(m - 1)).reduce(.minimum, [2])
        let nearestB = try (squares .== toA).choose(program.iota(n).reshape([n, 1]), Double(n - 1)).reduce(.minimum, [1])
        return [try toB.mean([0, 1, 2]) + toA.mean([0, 1, 2]), nearestA, nearestB]
    }
}

extension ChamferDistanceGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (a, b, nearestA, nearestB) = (try inputs.at(0), try inputs.at(1), try inputs.at(2), try inputs.at(3))
        let (sets, n, m) = (a.shape[0], a.shape[1], b.shape[1])
        let fromA = try (a - b.gatheredRows(nearestA)) * (inputs.at(4) * (2 / Double(sets * n)))
        let fromB = try (a.gatheredRows(nearestB) - b) * (inputs.at(4) * (2 / Double(sets * m)))
        let da = wantsA ? [try fromA + fromB.scatteredRows(nearestB, count: n)] : []
        let db = wantsB ? [try -1 * (fromB + fromA.scatteredRows(nearestA, count: m))] : []
        return da + db
    }
}
