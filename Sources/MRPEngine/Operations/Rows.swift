import CMRPKernels
import Glibc

/// y = (x - mean) / sqrt(variance + epsilon) per row, unbiased variance: the target of `norm_pix_loss` (He et al. 2021, which
/// uses epsilon 1e-6). No gradient: it makes targets.
public struct StandardizeRows: Operation {
    let epsilon: Double

    public init(epsilon: Double = 1e-6) { self.epsilon = epsilon }

    public var name: String { "standardize rows" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil else { throw shapeError(name, "needs an input") }
        return [x]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, epsilon, x, y) = (call.pool, call.kernels.standardize_rows, self.epsilon, call.input(0), call.outputs[0])
        return Kernel { run(pool, rows, width, x, epsilon, y) }
    }
}

/// softmax over the last dimension: class probabilities (training on classes uses `SoftmaxCrossEntropy`), probabilities of experts.
public struct SoftmaxRows: Operation {
    public init() {}

    public var name: String { "softmax" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil else { throw shapeError(name, "needs an input") }
        return [x]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, x, y) = (call.pool, call.kernels.softmax_rows, call.input(0), call.outputs[0])
        return Kernel { run(pool, rows, width, x, y) }
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(SoftmaxRowsGradient(), [node.outputs[0], gradient])[0]]
    }
}

/// Inputs: y, the softmax, and its gradient.
struct SoftmaxRowsGradient: Operation {
    var name: String { "softmax gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let y = inputs.first ?? nil else { throw shapeError(name, "needs a softmax") }
        return [y]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, y, gradient, output) = (call.pool, call.kernels.softmax_gradient, call.input(0), call.input(1), call.outputs[0])
        return Kernel { run(pool, rows, width, y, gradient, output) }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (y, gradient) = (try inputs.at(0), try inputs.at(1))
        return [try y * (gradient - (y * gradient).sum([y.last], keep: true))]
    }
}

/// The mean over tokens `first` ..< T: global average pooling that leaves the class token out. [B, T, W] -> [B, W].
public struct MeanTokens: Operation {
    let first: Int

    public init(first: Int) { self.first = first }

    public var name: String { "mean of tokens" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil, x.shape.count == 3, first >= 0, first < x.shape[1] else {
            throw shapeError(name, "x must be [batch, tokens, width] with more than \(first) tokens")
        }
        return [TensorType([x.shape[0], x.width])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[0] else { return node.noGradients }
        return try graph.apply(MeanTokensGradient(x: graph.type(of: x), first: first), [gradient]).map { $0 }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let shape = call.type(0).shape.map(Int64.init)
        let (batch, tokens, width, first) = (shape[0], shape[1], shape[2], Int64(self.first))
        let (pool, run, x, y) = (call.pool, call.kernels.mean_tokens, call.input(0), call.outputs[0])
        return Kernel { run(pool, batch, tokens, width, first, x, y) }
    }
}

struct MeanTokensGradient: Operation {
    let x: TensorType
    let first: Int

    var name: String { "mean of tokens gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { [x] }

    func kernel(_ call: KernelCall) -> Kernel {
        let shape = x.shape.map(Int64.init)
        let (batch, tokens, width, first) = (shape[0], shape[1], shape[2], Int64(self.first))
        let (pool, run, dy, dx) = (call.pool, call.kernels.mean_tokens_gradient, call.input(0), call.outputs[0])
        return Kernel { run(pool, batch, tokens, width, first, dy, dx) }
    }
}

/// Rows first ..< first + count of x: one view of each image of a batch that lies view by view. [R, ...] -> [count, ...].
public struct SliceRows: Operation {
    let first: Int
    let count: Int

    public init(first: Int, count: Int) { (self.first, self.count) = (first, count) }

    public var name: String { "slice of rows" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil, let rows = x.shape.first, x.element == .real, first >= 0, count >= 0, first <= rows - count
        else {
            throw shapeError(name, "x has no rows \(first) ..< \(first + count)")
        }
        return [TensorType([count] + x.shape.dropFirst())]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[0] else { return node.noGradients }
        return try graph.apply(SliceRowsGradient(x: graph.type(of: x), first: first), [gradient]).map { $0 }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let bytes = call.outputTypes[0].bytes(call.compute.precision)
        let (x, y) = (
            call.input(0).map { $0 + call.type(0).bytes(call.compute.precision) / max(call.type(0).shape[0], 1) * first }, call.outputs[0]
        )
        return Kernel {
            if let x, let y { y.copyMemory(from: x, byteCount: bytes) }
        }
    }
}

/// The rows at their places among zeros.
struct SliceRowsGradient: Operation {
    let x: TensorType
    let first: Int

    var name: String { "slice of rows gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { [x] }

    func kernel(_ call: KernelCall) -> Kernel {
        let (bytes, all) = (call.type(0).bytes(call.compute.precision), x.bytes(call.compute.precision))
        let (dy, dx, start) = (call.input(0), call.outputs[0], all / max(x.shape[0], 1) * first)
        return Kernel {
            guard let dy, let dx else { return }
            memset(dx, 0, all)
            (dx + start).copyMemory(from: dy, byteCount: bytes)
        }
    }
}

/// a + b, elementwise.
public struct Add: Operation {
    public init() {}

    public var name: String { "add" }
    public var reusableInputs: [Int] { [0, 1] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let a = inputs[0], let b = inputs[1], a == b else { throw shapeError(name, "shapes differ") }
        return [a]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        [outputGradients[0], outputGradients[0]]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let count = Int64(call.type(0).count)
        let (pool, run, a, b, y) = (call.pool, call.kernels.add, call.input(0), call.input(1), call.outputs[0])
        return Kernel { run(pool, count, a, b, y) }
    }
}

/// x + row, the same row [W] to each row of x [..., W]. No gradient flows to the row: it is a constant, such as the log prior of classes.
public struct AddRow: Operation {
    public init() {}

    public var name: String { "add row" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let x = inputs[0], inputs[1] == TensorType([x.width]) else {
            throw shapeError(name, "takes x [..., width] and a row [width]")
        }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        [outputGradients[0], nil]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, width) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, x, row, y) = (call.pool, call.kernels.add_row, call.input(0), call.input(1), call.outputs[0])
        return Kernel { run(pool, rows, width, x, row, y) }
    }
}

/// factor * x.
public struct Scale: Operation {
    let factor: Double

    public init(_ factor: Double) { self.factor = factor }

    public var name: String { "scale" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil else { throw shapeError(name, "needs an input") }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        return [try graph.apply(self, [gradient])[0]]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let count = Int64(call.type(0).count)
        let (pool, run, factor, x, y) = (call.pool, call.kernels.scale, self.factor, call.input(0), call.outputs[0])
        return Kernel { run(pool, count, factor, x, y) }
    }
}

/// residual + factor x, with one factor per image: stochastic depth (Huang et al. 2016) gives 0 or 1 / (1 - rate).
/// Inputs: x [B, ...], factors [B], and a residual like x or none.
public struct ScaleImages: Operation {
    public init() {}

    public var name: String { "scale images" }
    public var reusableInputs: [Int] { [2, 0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 2, let x = inputs[0], let factors = inputs[1], factors.shape.count == 1, factors.shape[0] == x.shape.first,
            inputs.count == 2 || inputs[2] == nil || inputs[2] == x
        else { throw shapeError(name, "takes x [batch, ...], factors [batch] and a residual like x") }
        return [x]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let dx = node.wanted[0] ? try graph.apply(self, [gradient, node.inputs[1]])[0] : nil
        return Array([dx, nil, gradient].prefix(node.inputs.count))
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let images = call.type(1).count
        let (count, values) = (Int64(images), Int64(call.type(0).count / max(images, 1)))
        let (pool, run, x, factors) = (call.pool, call.kernels.scale_images, call.input(0), call.input(1))
        let (residual, y) = (call.input(2), call.outputs[0])
        return Kernel { run(pool, count, values, factors, x, residual, y) }
    }
}

extension StandardizeRows {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        let (_, difference, variance) = try x.centered([x.last])
        let unbiased = try variance * (Double(x.width) / Double(x.width - 1))
        return try [difference / (unbiased + epsilon).sqrt()]
    }
}

extension SoftmaxRows {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).softmax().probabilities]
    }
}

extension MeanTokens {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        return try [x.slice(1, first..<x.shape[1]).mean([1])]
    }
}

extension MeanTokensGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (tokens, width) = (x.shape[1] - first, x.width)
        let dy = try inputs.at(0).reshape([x.shape[0], 1, width]) / Double(tokens)
        return try [dy.broadcast(to: [x.shape[0], tokens, width]).pad([1: PrimitivePadding(low: first)])]
    }
}

extension SliceRows {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).slice(0, first..<(first + count))]
    }
}

extension SliceRowsGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let dy = try inputs.at(0)
        return [try dy.pad([0: PrimitivePadding(low: first, high: x.shape[0] - first - dy.shape[0])])]
    }
}

extension Add {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        try [inputs.at(0) + inputs.at(1)]
    }
}

extension AddRow {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        try [inputs.at(0) + inputs.at(1)]
    }
}

extension Scale {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        try [inputs.at(0) * factor]
    }
}

extension ScaleImages {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        let scaled = try x * inputs.at(1).reshape([x.shape[0]] + x.shape.dropFirst().map { _ in 1 })
        return try [inputs.optional(2).map { try $0 + scaled } ?? scaled]
    }
}
