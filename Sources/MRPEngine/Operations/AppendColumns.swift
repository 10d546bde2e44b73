import CMRPKernels

/// The same columns behind those of each image: x [B, R, W] and columns [R, E], such as coordinates or ones, make [B, R, W + E]. No gradient
/// flows to the columns: they are constants.
public struct AppendColumns: Operation {
    public init() {}

    public var name: String { "append columns" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let x = inputs[0], let columns = inputs[1], x.shape.count == 3, columns.shape.count == 2,
            columns.shape[0] == x.shape[1]
        else { throw shapeError(name, "takes x [batch, rows, width] and columns [rows, extra]") }
        return [TensorType([x.shape[0], x.shape[1], x.width + columns.width])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard node.wanted[0], let gradient = outputGradients[0], let x = node.inputs[0] else { return node.noGradients }
        return [try graph.apply(LeadingColumns(width: graph.type(of: x).width), [gradient])[0], nil]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (shape, extra) = (call.type(0).shape.map(Int64.init), Int64(call.type(1).width))
        let (batch, rows, width) = (shape[0], shape[1], shape[2])
        let (pool, run, x, columns, y) = (call.pool, call.kernels.append_columns, call.input(0), call.input(1), call.outputs[0])
        return Kernel { run(pool, batch, rows, width, extra, x, columns, y) }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0), columns = try inputs.at(1)
        return [try PrimitiveValue.concatenate([x, columns.broadcast(to: [x.shape[0], x.shape[1], columns.width])], 2)]
    }
}

/// The first columns of y [B, R, W]: the gradient of what others were appended to.
struct LeadingColumns: Operation {
    let width: Int

    var name: String { "leading columns" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let y = inputs.first ?? nil, y.shape.count == 3, y.width >= width else { throw shapeError(name, "needs wider rows") }
        return [TensorType([y.shape[0], y.shape[1], width])]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(self.width))
        let (pool, run, extra, y, x) = (
            call.pool, call.kernels.leading_columns, Int64(call.type(0).width) - width, call.input(0), call.outputs[0]
        )
        return Kernel { run(pool, rows, width, extra, y, x) }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).slice(2, 0..<width)]
    }
}
