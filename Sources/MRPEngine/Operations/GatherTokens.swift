import CMRPKernels

/// y[b, i] = A + P:  A = x[b, ids[b, i]] if that row exists, else fill (zeros without fill);  P = table[tableIds[b, i]].
///
/// The one mechanism behind dropping masked tokens, prepending the class token, restoring the order with mask tokens and adding
/// positions. Inputs: x [B, R, W], ids [B, K] or [K] (nil: i), fill [W]?, table [N, W]?, tableIds [B, K] or [K] (nil: i).
/// Output: [B, K, W]. Ids are int32; entries outside 0 ..< R mean fill; table ids must lie in 0 ..< N.
public struct GatherTokens: Operation {
    enum Input {
        static let x = 0
        static let ids = 1
        static let fill = 2
        static let table = 3
        static let tableIds = 4
    }

    public init() {}

    public var name: String { "gather tokens" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 5, let x = inputs[0], x.shape.count == 3 else {
            throw shapeError(name, "x must be [batch, rows, width]")
        }
        let batch = x.shape[0]
        for index in [Input.ids, Input.tableIds] {
            guard let ids = inputs[index] else { continue }
            guard ids.element == .int32, ids.shape.count == 1 || (ids.shape.count == 2 && ids.shape[0] == batch) else {
                throw shapeError(name, "ids of shape \(ids.shape) for a batch of \(batch)")
            }
        }
        let rows = inputs[Input.ids]?.width ?? inputs[Input.tableIds]?.width ?? x.shape[1]
        for index in [Input.fill, Input.table] {
            if let other = inputs[index], other.width != x.width { throw shapeError(name, "widths differ") }
        }
        if let table = inputs[Input.table], inputs[Input.tableIds] == nil, table.rows < rows {
            throw shapeError(name, "a table of \(table.rows) rows for \(rows) tokens")
        }
        return [TensorType([batch, rows, x.width])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[Input.x] else { return node.noGradients }
        let table = node.inputs[Input.table].map { graph.type(of: $0) }
        let operation = GatherTokensGradient(
            x: graph.type(of: x), table: table, wantsX: node.wanted[Input.x], wantsFill: node.wanted[Input.fill],
            wantsTable: node.wanted[Input.table])
        var outputs = try graph.apply(operation, [gradient, node.inputs[Input.ids], node.inputs[Input.tableIds]])[...]
        var result = [Value?](repeating: nil, count: 5)
        for index in [Input.x, Input.fill, Input.table] where node.wanted[index] { result[index] = outputs.removeFirst() }
        return result
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (x, y) = (call.type(Input.x), call.outputTypes[0])
        let problem = mk_gather(
            batch: Int64(x.shape[0]), rows_in: Int64(x.shape[1]), rows_out: Int64(y.shape[1]), width: Int64(x.width),
            x: call.input(Input.x), ids: call.indices(Input.ids), ids_stride: call.indexStride(Input.ids),
            fill: call.input(Input.fill), table: call.input(Input.table),
            table_rows: Int64(call.inputType(Input.table)?.rows ?? 0), table_ids: call.indices(Input.tableIds),
            table_ids_stride: call.indexStride(Input.tableIds), y: call.outputs[0])
        let (pool, run) = (call.pool, call.kernels.gather)
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0) } }
    }
}

/// Inputs: dy, ids?, tableIds?. Outputs: those wanted of dx, dfill, dtable, in this order.
struct GatherTokensGradient: Operation {
    let x: TensorType
    let table: TensorType?
    let wantsX: Bool
    let wantsFill: Bool
    let wantsTable: Bool

    var name: String { "gather tokens gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        var types: [TensorType] = []
        if wantsX { types.append(x) }
        if wantsFill { types.append(TensorType([x.width])) }
        if wantsTable, let table { types.append(table) }
        return types
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var forward = mk_gather()
        forward.batch = Int64(x.shape[0])
        forward.rows_in = Int64(x.shape[1])
        forward.rows_out = Int64(call.type(0).shape[1])
        forward.width = Int64(x.width)
        forward.ids = call.indices(1)
        forward.ids_stride = call.indexStride(1)
        forward.table_rows = Int64(table?.rows ?? 0)
        forward.table_ids = call.indices(2)
        forward.table_ids_stride = call.indexStride(2)
        var outputs = call.outputs[...]
        let problem = mk_gather_gradient(
            forward: forward, y_gradient: call.input(0), x_gradient: wantsX ? outputs.removeFirst() : nil,
            fill_gradient: wantsFill ? outputs.removeFirst() : nil,
            table_gradient: wantsTable && table != nil ? outputs.removeFirst() : nil)
        let (pool, run) = (call.pool, call.kernels.gather_gradient)
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0) } }
    }
}

extension GatherTokens {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(Input.x)
        let count = inputs.optional(Input.ids)?.width ?? inputs.optional(Input.tableIds)?.width ?? x.shape[1]
        var y = x
        if let ids = try Self.ids(inputs.optional(Input.ids), program, count: count, of: x.shape[1]) {
            y = try x.gatheredRows(ids, else: inputs.optional(Input.fill))
        }
        guard let table = try inputs.optional(Input.table)?.matrix() else { return [y] }
        guard let tableIds = inputs.optional(Input.tableIds) else { return [try y + table.slice(0, 0..<count)] }
        return [try y + program.apply(.gather(dimension: 0), [table, tableIds])]
    }

    /// Absent ids are 0 ..< count; nil: these are all rows.
    static func ids(_ ids: PrimitiveValue?, _ program: PrimitiveBuilder, count: Int, of rows: Int) throws -> PrimitiveValue? {
        if ids == nil, count == rows { return nil }
        return try ids ?? program.iota(count)
    }
}

extension GatherTokensGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let dy = try inputs.at(0)
        let (count, rows) = (dy.shape[1], x.shape[1])
        let ids = try GatherTokens.ids(inputs.optional(1), program, count: count, of: rows)
        var results: [PrimitiveValue] = []
        if wantsX { results.append(try ids.map { try dy.scatteredRows($0, count: rows) } ?? dy) }
        if wantsFill {
            let isInside = try (ids ?? program.iota(count)).isRow(of: rows)
            results.append(try isInside.choose(program.constant(0, dy.shape, dy.element), dy).sum([0, 1]))
        }
        if wantsTable, let table {
            let tableIds = try inputs.optional(2) ?? program.iota(count)
            let all = try tableIds.rank == 1 ? dy.sum([0]).reshape([1, count, dy.width]) : dy.reshape([1, dy.rows, dy.width])
            results.append(try all.scatteredRows(tableIds.reshape([tableIds.type.count]), count: table.rows).reshape(table.shape))
        }
        return results
    }
}
