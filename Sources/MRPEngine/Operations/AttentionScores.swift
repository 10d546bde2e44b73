import CMRPKernels

/// The scores of multi-head self-attention, q k^T / sqrt(d) per head, for those who look at attention: `Attention` itself never stores them.
/// No gradient.
///
/// Input: qkv [B, T, 3 D] as `Attention` takes it. Output: [B, heads, T, T].
public struct AttentionScores: Operation {
    let heads: Int

    public init(heads: Int) { self.heads = heads }

    public var name: String { "attention scores" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let out = try Attention(heads: heads).outputTypes(inputs)
        let (batch, tokens) = (out[0].shape[0], out[0].shape[1])
        return [TensorType([batch, heads, tokens, tokens])]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (qkv, scores) = (call.type(0), call.outputTypes[0])
        let (tokens, width, bytes) = (qkv.shape[1], qkv.width, call.compute.precision.bytes)
        let depth = width / (3 * heads)
        var problem = mk_gemm()
        (problem.m, problem.n, problem.k) = (Int64(tokens), Int64(tokens), Int64(depth))
        (problem.lda, problem.ldb, problem.ldc) = (Int64(width), Int64(width), Int64(tokens))
        problem.transpose_b = 1
        let problems = (0..<scores.shape[0] * heads).map { index in
            let q = (index / heads * tokens * width + index % heads * depth) * bytes
            problem.a = call.input(0).map { UnsafeRawPointer($0 + q) }
            problem.b = call.input(0).map { UnsafeRawPointer($0 + q + width / 3 * bytes) }
            problem.c = call.outputs[0].map { $0 + index * tokens * tokens * bytes }
            return problem
        }
        let (pool, kernels, count, y) = (call.pool, call.kernels, Int64(scores.count), call.outputs[0])
        let factor = 1 / Double(depth).squareRoot()
        return Kernel(scratch: withUnsafePointer(to: problem) { kernels.gemm_scratch($0) }) {
            for problem in problems { withUnsafePointer(to: problem) { kernels.gemm(pool, $0) } }
            kernels.scale(pool, count, factor, y, y)
        }
    }
}

extension AttentionScores {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try Attention.split(inputs.at(0), heads: heads).scores()]
    }
}
