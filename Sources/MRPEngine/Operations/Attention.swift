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
