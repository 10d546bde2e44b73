import CMRPKernels

/// Multi-head self-attention, softmax(Q K^T / sqrt(d)) V per head (Vaswani et al. 2017), on a fused qkv.
///
/// Input: qkv [B, T, 3 D], each row (q, k, v) x heads x d. Outputs: [B, T, D]; log-sum-exp of the scaled scores [B, heads, T].
public struct Attention: Operation {
    let heads: Int

    public init(heads: Int) { self.heads = heads }

    public var name: String { "attention" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let qkv = inputs.first ?? nil, qkv.shape.count == 3, heads > 0, qkv.width % (3 * heads) == 0 else {
            throw shapeError(name, "qkv must be [batch, tokens, 3 x heads x head_dim] for \(heads) heads")
        }
        let (batch, tokens) = (qkv.shape[0], qkv.shape[1])
        return [TensorType([batch, tokens, qkv.width / 3]), TensorType([batch, heads, tokens])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let inputs = [node.inputs[0], node.outputs[0], node.outputs[1], gradient]
        return try graph.apply(AttentionGradient(heads: heads), inputs).map { $0 }
    }

    static func problem(_ qkv: TensorType, heads: Int) -> mk_attention {
        var problem = mk_attention()
        problem.batch = Int64(qkv.shape[0])
        problem.tokens = Int64(qkv.shape[1])
        problem.heads = Int64(heads)
        problem.head_dim = Int64(qkv.width / (3 * heads))
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = Self.problem(call.type(0), heads: heads)
        problem.qkv = call.input(0).map { UnsafeRawPointer($0) }
        problem.out = call.outputs[0]
        problem.log_sum_exp = call.outputs[1]
        let (pool, run, prepared) = (call.pool, call.kernels.attention_forward, problem)
        return Kernel(scratch: withUnsafePointer(to: prepared) { call.kernels.attention_scratch($0) }) {
            withUnsafePointer(to: prepared) { run(pool, $0) }
        }
    }
}

/// Inputs: qkv, out, log-sum-exp, d out. Output: d qkv. Scores are computed again, block by block.
struct AttentionGradient: Operation {
    let heads: Int

    var name: String { "attention gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let qkv = inputs.first ?? nil else { throw shapeError(name, "needs qkv") }
        return [qkv]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = Attention.problem(call.type(0), heads: heads)
        problem.qkv = call.input(0).map { UnsafeRawPointer($0) }
        problem.out = call.input(1)
        problem.log_sum_exp = call.input(2)
        problem.out_gradient = call.input(3).map { UnsafeRawPointer($0) }
        problem.qkv_gradient = call.outputs[0]
        let (pool, run, prepared) = (call.pool, call.kernels.attention_backward, problem)
        return Kernel(scratch: withUnsafePointer(to: prepared) { call.kernels.attention_scratch($0) }) {
            withUnsafePointer(to: prepared) { run(pool, $0) }
        }
    }
}

extension Attention {
    /// q, k and v of qkv [B, T, 3 D], each [B, heads, T, d].
    static func split(_ qkv: PrimitiveValue, heads: Int) throws -> [PrimitiveValue] {
        let (batch, tokens, depth) = (qkv.shape[0], qkv.shape[1], qkv.width / (3 * heads))
        let parts = try qkv.reshape([batch, tokens, 3, heads, depth]).transpose([2, 0, 3, 1, 4])
        return try (0..<3).map { try parts.slice(0, $0..<($0 + 1)).reshape([batch, heads, tokens, depth]) }
    }

    /// q k^T / sqrt(d): [B, heads, T, T].
    static func scores(_ q: PrimitiveValue, _ k: PrimitiveValue) throws -> PrimitiveValue {
        try q.dot(k, batch: 2, contracting: (3, 3)) * (1 / Double(q.width).squareRoot())
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let parts = try Self.split(inputs.at(0), heads: heads)
        let (probabilities, logSumExp) = try Self.scores(parts[0], parts[1]).softmax()
        let out = try probabilities.dot(parts[2], batch: 2, contracting: (3, 2)).transpose([0, 2, 1, 3])
        let shape = out.shape
        return try [out.reshape([shape[0], shape[1], shape[2] * shape[3]]), logSumExp.reshape([shape[0], shape[2], shape[1]])]
    }
}

extension AttentionGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let qkv = try inputs.at(0)
        let parts = try Attention.split(qkv, heads: heads)
        let (q, k, v) = (parts[0], parts[1], parts[2])
        let (batch, tokens, depth) = (q.shape[0], q.shape[2], q.width)
        func byHead(_ x: PrimitiveValue) throws -> PrimitiveValue {
            try x.reshape([batch, tokens, heads, depth]).transpose([0, 2, 1, 3])
        }
        let (out, dout) = try (byHead(inputs.at(1)), byHead(inputs.at(3)))
        let p = try (Attention.scores(q, k) - inputs.at(2).reshape([batch, heads, tokens, 1])).exp()
        let dp = try dout.dot(v, batch: 2, contracting: (3, 3))
        let dz = try p * (dp - (dout * out).sum([3], keep: true)) * (1 / Double(depth).squareRoot())
        let gradients = try [
            dz.dot(k, batch: 2, contracting: (3, 2)), dz.dot(q, batch: 2, contracting: (2, 2)), p.dot(dout, batch: 2, contracting: (2, 2)),
        ].map { try $0.transpose([0, 2, 1, 3]).reshape([batch, tokens, 1, heads, depth]) }
        return [try PrimitiveValue.concatenate(gradients, 2).reshape(qkv.shape)]
    }
}
