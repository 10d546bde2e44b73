import CMRPKernels

/// The maximum or the average over windows of channels-last images (torch.nn.MaxPool2d, AvgPool2d; an average divides by the window's
/// whole area). The mean over an image is `MeanTokens`.
///
/// Inputs: x [B, H W, C], then the places of input and output (`VisiblePlaces`) for tensors of visible positions: a maximum skips hidden ones.
/// Outputs: y [B, H' W', C], or [B, K', C]; of a maximum also the row of x of each (int32, y's shape).
public struct Pool: Operation {
    public enum Kind: Sendable { case maximum, average }

    let kind: Kind
    let rows: Window
    let columns: Window

    static let places = PlaceInputs(first: 1)

    /// Windows must have dilation 1.
    public init(_ kind: Kind, rows: Window, columns: Window) {
        self.kind = kind
        self.rows = rows
        self.columns = columns
    }

    public static func inputs(_ x: Value, from: VisiblePlaces? = nil, to: VisiblePlaces? = nil) -> [Value?] {
        [x] + PlaceInputs.values(from, to)
    }

    public var name: String { kind == .maximum ? "max pool" : "average pool" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil, x.shape.count == 3, rows.dilation == 1, columns.dilation == 1 else {
            throw shapeError(name, "needs x [batch, positions, channels] and windows without dilation")
        }
        let batch = x.shape[0]
        let from = try Self.places.rows(inputs, at: 0, height: rows.size, width: columns.size, batch: batch, name)
        let to = try Self.places.rows(inputs, at: 2, height: rows.outputSize, width: columns.outputSize, batch: batch, name)
        guard x.shape[1] == from, batch * from <= Int(Int32.max) else {
            throw shapeError(name, "x of shape \(x.shape) for \(from) positions")
        }
        let shape = [batch, to, x.width]
        return kind == .maximum ? [TensorType(shape), TensorType(shape, .int32)] : [TensorType(shape)]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[0] else { return node.noGradients }
        let places = (1..<5).map { $0 < node.inputs.count ? node.inputs[$0] : nil }
        let from = kind == .maximum ? node.outputs[1] : nil
        return node.gradients(try graph.apply(PoolGradient(pool: self, x: graph.type(of: x)), [gradient] + places + [from]))
    }

    func problem(_ call: KernelCall, _ x: TensorType) -> mk_pool2d {
        var problem = mk_pool2d()
        problem.batch = Int64(x.shape[0])
        problem.channels = Int64(x.width)
        problem.rows = rows.problem
        problem.columns = columns.problem
        problem.in = Self.places.places(call, at: 0, height: rows.size, width: columns.size, batch: x.shape[0])
        problem.out = Self.places.places(call, at: 2, height: rows.outputSize, width: columns.outputSize, batch: x.shape[0])
        problem.average = kind == .average ? 1 : 0
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = problem(call, call.type(0))
        problem.x = call.input(0)
        problem.y = call.outputs[0]
        if kind == .maximum { problem.from = call.outputs[1]?.assumingMemoryBound(to: Int32.self) }
        let (pool, run, prepared) = (call.pool, call.kernels.pool2d_forward, problem)
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0) } }
    }
}

/// Inputs: dy, places, the rows of the maxima?. Output: dx.
struct PoolGradient: Operation {
    let pool: Pool
    let x: TensorType

    var name: String { "\(pool.name) gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { [x] }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = pool.problem(call, x)
        problem.x = call.outputs[0]
        problem.y = call.input(0)
        problem.from = call.input(5)?.assumingMemoryBound(to: Int32.self)
        let (threads, run, prepared) = (call.pool, call.kernels.pool2d_backward, problem)
        return Kernel { withUnsafePointer(to: prepared) { run(threads, $0) } }
    }
}
