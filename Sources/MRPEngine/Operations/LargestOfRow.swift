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

/// The share of rows whose largest value is that of their class, a measure: no gradient.
///
/// Inputs: scores [R, K], classes [R] int32. Outputs: the share, a scalar; the index of each row's largest value, [R] int32.
public struct TopAccuracy: Operation {
    public init() {}

    public var name: String { "accuracy" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let scores = inputs[0], scores.count > 0, let classes = inputs[1], classes.element == .int32,
            classes.count == scores.rows
        else { throw shapeError(name, "takes scores [rows, classes] and the class of each row") }
        return [TensorType([]), TensorType([scores.rows], .int32)]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width, isDouble) = (call.type(0).rows, Int64(call.type(0).width), call.compute.precision == .float64)
        let (pool, run, scores, classes, share) = (call.pool, call.kernels.argmax_rows, call.input(0), call.indices(1), call.outputs[0])
        let largest = call.outputs[1]?.assumingMemoryBound(to: Int32.self)
        return Kernel {
            run(pool, Int64(rows), width, scores, largest)
            guard let classes, let largest, let share else { return }
            var hits = 0
            for row in 0..<rows where classes[row] == largest[row] { hits += 1 }
            let value = Double(hits) / Double(rows)
            if isDouble { share.storeBytes(of: value, as: Double.self) } else { share.storeBytes(of: Float(value), as: Float.self) }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let scores = try inputs.at(0).matrix()
        let largest = try LargestOfRow().lowered([scores], in: program)[0]
        let isHit = try (largest .== inputs.at(1).reshape([scores.rows])).converted(to: scores.element)
        return [try isHit.mean([0]), largest]
    }
}
