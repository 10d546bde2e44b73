import CMRPKernels

/// Bilinear resizing of channels-last images, as torch's `interpolate(mode="bilinear", align_corners=False)`: pixel i of n reads place
/// (i + 1/2) m / n - 1/2 among m, kept inside the border.
///
/// Input: x [B, H W, C]. Output: [B, H' W', C].
public struct ResizeBilinear: Operation {
    let from: (height: Int, width: Int)
    let to: (height: Int, width: Int)

    public init(from: (height: Int, width: Int), to: (height: Int, width: Int)) { (self.from, self.to) = (from, to) }

    public var name: String { "bilinear resize" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 1, let x = inputs[0], x.shape.count == 3, from.height >= 1, from.width >= 1, to.height >= 1, to.width >= 1,
            x.shape[1] == from.height * from.width, to.height <= Int(Int32.max) / to.width
        else { throw shapeError(name, "needs x [batch, \(from.height) x \(from.width), channels]") }
        return [TensorType([x.shape[0], to.height * to.width, x.width])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return try graph.apply(ResizeBilinearGradient(resize: self), [gradient])
    }

    func problem(_ call: KernelCall) -> mk_resize {
        mk_resize(
            batch: Int64(call.type(0).shape[0]), channels: Int64(call.type(0).width), in_height: Int64(from.height),
            in_width: Int64(from.width), out_height: Int64(to.height), out_width: Int64(to.width), x: nil, y: nil)
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = problem(call)
        (problem.x, problem.y) = (call.input(0), call.outputs[0])
        let (pool, run, prepared) = (call.pool, call.kernels.resize_forward, problem)
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0) } }
    }
}

/// Input: dy. Output: dx.
struct ResizeBilinearGradient: Operation {
    let resize: ResizeBilinear

    var name: String { "bilinear resize gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let dy = inputs.first ?? nil, dy.shape.count == 3 else { throw shapeError(name, "needs a gradient") }
        return [TensorType([dy.shape[0], resize.from.height * resize.from.width, dy.width])]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = resize.problem(call)
        (problem.x, problem.y) = (call.outputs[0], call.input(0))
        let (pool, run, prepared) = (call.pool, call.kernels.resize_backward, problem)
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0) } }
    }
}

extension ResizeBilinear {
    /// Shares of the `from` places in each of `to` pixels, [to, from]: max(0, 1 - distance).
    private static func shares(_ from: Int, _ to: Int, _ element: PrimitiveElement, in program: PrimitiveBuilder) throws -> PrimitiveValue {
        let pixels = try program.iota(to).converted(to: element)
        let places = try ((pixels + 0.5) * (Double(from) / Double(to)) - 0.5).clamped(0, Double(from - 1))
        let distances = try (places.reshape([to, 1]) - program.iota(from).converted(to: element)).abs()
        return try (1 - distances).clamped(0, 1)
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        let rows = try Self.shares(from.height, to.height, x.element, in: program)
        let columns = try Self.shares(from.width, to.width, x.element, in: program)
        let tall = try rows.dot(x.reshape([x.shape[0], from.height, from.width, x.width]), contracting: (1, 1))
        let y = try columns.dot(tall, contracting: (1, 2))
        return [try y.transpose([2, 1, 0, 3]).reshape([x.shape[0], to.height * to.width, x.width])]
    }

    /// The transpose of the above.
    func loweredGradient(_ dy: PrimitiveValue, in program: PrimitiveBuilder) throws -> PrimitiveValue {
        let rows = try Self.shares(from.height, to.height, dy.element, in: program)
        let columns = try Self.shares(from.width, to.width, dy.element, in: program)
        let short = try rows.dot(dy.reshape([dy.shape[0], to.height, to.width, dy.width]), contracting: (0, 1))
        let dx = try columns.dot(short, contracting: (0, 2))
        return try dx.transpose([2, 1, 0, 3]).reshape([dy.shape[0], from.height * from.width, dy.width])
    }
}

extension ResizeBilinearGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try resize.loweredGradient(inputs.at(0), in: program)]
    }
}
