import CMRPKernels

/// The index of each row's largest value, the first of equal ones: [..., W] -> [rows] int32. No gradient: it makes targets.
public struct LargestOfRow: Operation {
    public init() {}

    public var name: String { "largest of row" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil, x.width >= 1 else { throw shapeError(name, "needs rows of at least one value") }
        return [TensorType([x.rows], .int32)]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, x) = (call.pool, call.kernels.argmax_rows, call.input(0))
        let out = call.outputs[0].map { $0.assumingMemoryBound(to: Int32.self) }
        return Kernel { run(pool, rows, width, x, out) }
    }
}

extension LargestOfRow {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0).matrix()
        let isLargest = try x .== x.max([1], keep: true)
        return [try isLargest.choose(program.iota(x.width), Double(x.width - 1)).reduce(.minimum, [1])]
    }
}
