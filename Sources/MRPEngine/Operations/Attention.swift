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

    /// The call without its outputs: q, k and v are the three parts of each row.
    static func problem(_ call: KernelCall, heads: Int) -> mk_attention {
        let qkv = call.type(0)
        let width = qkv.width / 3
        var problem = mk_attention(queries: qkv.shape, keys: qkv.shape, width: width, heads: heads)
        let part = width * Int(call.kernels.element_bytes)
        problem.q = call.input(0).map { UnsafeRawPointer($0) }
        problem.k = call.input(0).map { UnsafeRawPointer($0 + part) }
        problem.v = call.input(0).map { UnsafeRawPointer($0 + 2 * part) }
        (problem.q_stride, problem.k_stride, problem.v_stride) = (Int64(qkv.width), Int64(qkv.width), Int64(qkv.width))
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = Self.problem(call, heads: heads)
        problem.out = call.outputs[0]
        problem.log_sum_exp = call.outputs[1]
        return problem.kernel(call, call.kernels.attention_forward)
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
        var problem = Attention.problem(call, heads: heads)
        let part = call.type(0).width / 3 * Int(call.kernels.element_bytes)
        problem.out = call.input(1)
        problem.log_sum_exp = call.input(2)
        problem.out_gradient = call.input(3).map { UnsafeRawPointer($0) }
        problem.q_gradient = call.outputs[0]
        problem.k_gradient = call.outputs[0].map { $0 + part }
        problem.v_gradient = call.outputs[0].map { $0 + 2 * part }
        return problem.kernel(call, call.kernels.attention_backward)
    }
}

/// Multi-head attention of queries to keys and values that come apart, optionally to the first keys of each image only.
///
/// Inputs: q [B, Tq, D], k [B, Tk, D], v [B, Tk, D], each row heads x d; lengths [B]?, int32, limited to 0 ... Tk: image b attends to its
/// first lengths[b] keys. Outputs: [B, Tq, D], 0 where no key is left; log-sum-exp of the scaled scores [B, heads, Tq].
public struct ScaledDotProductAttention: Operation {
    enum Input {
        static let q = 0
        static let k = 1
        static let v = 2
        static let lengths = 3
    }

    let heads: Int

    public init(heads: Int) { self.heads = heads }

    public var name: String { "scaled dot product attention" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 3, let q = inputs[Input.q], let k = inputs[Input.k], let v = inputs[Input.v], q.shape.count == 3,
            k.shape == v.shape, k.shape.count == 3, q.shape[0] == k.shape[0], q.width == k.width, heads > 0, q.width % heads == 0
        else { throw shapeError(name, "q must be [batch, queries, width], k and v [batch, keys, width] for \(heads) heads") }
        if let lengths = inputs.dropFirst(Input.lengths).first ?? nil {
            guard lengths.element == .int32, lengths.shape == [q.shape[0]] else {
                throw shapeError(name, "lengths of shape \(lengths.shape) for a batch of \(q.shape[0])")
            }
        }
        return [q, TensorType([q.shape[0], heads, q.shape[1]])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        let lengths = node.inputs.dropFirst(Input.lengths).first ?? nil
        let inputs = node.inputs[..<Input.lengths] + [lengths, node.outputs[0], node.outputs[1], gradient]
        return try node.gradients(graph.apply(ScaledDotProductAttentionGradient(heads: heads), Array(inputs)))
    }

    /// The call without its outputs.
    static func problem(_ call: KernelCall, heads: Int) -> mk_attention {
        let (q, k) = (call.type(Input.q), call.type(Input.k))
        var problem = mk_attention(queries: q.shape, keys: k.shape, width: q.width, heads: heads)
        problem.q = call.input(Input.q).map { UnsafeRawPointer($0) }
        problem.k = call.input(Input.k).map { UnsafeRawPointer($0) }
        problem.v = call.input(Input.v).map { UnsafeRawPointer($0) }
        (problem.q_stride, problem.k_stride, problem.v_stride) = (Int64(q.width), Int64(q.width), Int64(q.width))
        problem.lengths = call.indices(Input.lengths)
        return problem
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        var problem = Self.problem(call, heads: heads)
        problem.out = call.outputs[0]
        problem.log_sum_exp = call.outputs[1]
        return problem.kernel(call, call.kernels.attention_forward)
    }
}

/// Inputs: q, k, v, lengths?, out, log-sum-exp, d out. Outputs: d q, d k, d v.
struct ScaledDotProductAttentionGradient: Operation {
    let heads: Int

    var name: String { "scaled dot product attention gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 7, let q = inputs[0], let k = inputs[1], let v = inputs[2] else { throw shapeError(name, "needs q, k, v") }
        return [q, k, v]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = ScaledDotProductAttention.problem(call, heads: heads)
        problem.out = call.input(4)
        problem.log_sum_exp = call.input(5)
        problem.out_gradient = call.input(6).map { UnsafeRawPointer($0) }
        problem.q_gradient = call.outputs[0]
        problem.k_gradient = call.outputs[1]
        problem.v_gradient = call.outputs[2]
        return problem.kernel(call, call.kernels.attention_backward)
    }
}

extension mk_attention {
    /// The sizes of a call; `queries` and `keys` are shapes [batch, tokens, ...], `width` is heads x head_dim.
    init(queries: [Int], keys: [Int], width: Int, heads: Int) {
        self.init()
        batch = Int64(queries[0])
        self.queries = Int64(queries[1])
        self.keys = Int64(keys[1])
        self.heads = Int64(heads)
        head_dim = Int64(width / heads)
    }

    func kernel(_ call: KernelCall, _ run: @escaping @convention(c) (OpaquePointer?, UnsafePointer<mk_attention>?) -> Void) -> Kernel {
        let (pool, problem) = (call.pool, self)
        return Kernel(scratch: withUnsafePointer(to: problem) { call.kernels.attention_scratch($0) }) {
            withUnsafePointer(to: problem) { run(pool, $0) }
        }
    }
}

extension Attention {
    /// q, k and v of qkv [B, T, 3 D], each [B, T, heads, d].
    static func split(_ qkv: PrimitiveValue, heads: Int) throws -> AttentionParts {
        let (batch, tokens, width) = (qkv.shape[0], qkv.shape[1], qkv.width / 3)
        let parts = try (0..<3).map {
            try qkv.slice(2, ($0 * width)..<(($0 + 1) * width)).reshape([batch, tokens, heads, width / heads])
        }
        return AttentionParts(q: parts[0], k: parts[1], v: parts[2])
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (out, logSumExp) = try Self.split(inputs.at(0), heads: heads).attended(lengths: nil)
        return [try out.reshape([out.shape[0], out.shape[1], heads * out.width]), logSumExp]
    }
}

extension AttentionGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let qkv = try inputs.at(0)
        let parts = try Attention.split(qkv, heads: heads)
        let gradients = try parts.gradients(out: inputs.at(1), logSumExp: inputs.at(2), dout: inputs.at(3), lengths: nil)
        return [try PrimitiveValue.concatenate(gradients.map { try $0.reshape(inputs.at(1).shape) }, 2)]
    }
}

/// q [B, Tq, heads, d], k and v [B, Tk, heads, d]: the attention of both operations in primitives.
struct AttentionParts {
    let q: PrimitiveValue
    let k: PrimitiveValue
    let v: PrimitiveValue

    /// [B, T, heads, d] as [B, heads, T, d], and the reverse.
    private static func swapped(_ x: PrimitiveValue) throws -> PrimitiveValue { try x.transpose([0, 2, 1, 3]) }

    private var scale: Double { 1 / Double(q.width).squareRoot() }

    /// q k^T / sqrt(d): [B, heads, Tq, Tk].
    func scores() throws -> PrimitiveValue {
        try (Self.swapped(q) * scale).dot(Self.swapped(k), batch: 2, contracting: (3, 3))
    }

    /// Values [B, heads, Tq, Tk] at the keys that are attended to, another number elsewhere.
    private func masked(_ values: PrimitiveValue, else other: Double, lengths: PrimitiveValue?) throws -> PrimitiveValue {
        guard let lengths else { return values }
        let keys = try q.program.iota(values.width).reshape([1, 1, 1, values.width])
        return try (keys .< lengths.reshape([lengths.shape[0], 1, 1, 1])).choose(values, other)
    }

    /// Output [B, Tq, heads, d] and log-sum-exp of the scaled scores [B, heads, Tq].
    func attended(lengths: PrimitiveValue?) throws -> (out: PrimitiveValue, logSumExp: PrimitiveValue) {
        let (probabilities, sums) = try lengths.map { try softmax(lengths: $0) } ?? scores().softmax()
        let out = try Self.swapped(probabilities.dot(Self.swapped(v), batch: 2, contracting: (3, 2)))
        let logSumExp = try sums.reshape([q.shape[0], q.shape[2], q.shape[1]])
        guard lengths == nil else { return (out, logSumExp) }
        return (
            q.program.value(out, is: .attention(.output), of: [q, k, v]),
            q.program.value(logSumExp, is: .attention(.logSumExp), of: [q, k, v])
        )
    }

    /// Softmax over the first keys, 0 where none is left, and log-sum-exp.
    private func softmax(lengths: PrimitiveValue) throws -> (probabilities: PrimitiveValue, logSumExp: PrimitiveValue) {
        let scores = try scores()
        let largest = try masked(scores, else: -1e30, lengths: lengths).max([3], keep: true)
        let powers = try masked((scores - largest).exp(), else: 0, lengths: lengths)
        let sum = try powers.sum([3], keep: true)
        return try (powers / (sum .== 0).choose(sum + 1, sum), largest + sum.log())
    }

    /// Gradients of q, k and v, in their shapes. `out` and `dout` are [B, Tq, heads d].
    func gradients(
        out: PrimitiveValue, logSumExp: PrimitiveValue, dout: PrimitiveValue, lengths: PrimitiveValue?
    ) throws -> [PrimitiveValue] {
        let (out, dout) = try (out.reshape(q.shape), dout.reshape(q.shape))
        let (byHead, dByHead) = try (Self.swapped(out), Self.swapped(dout))
        let p = try masked((scores() - logSumExp.reshape(logSumExp.shape + [1])).exp(), else: 0, lengths: lengths)
        let dp = try dByHead.dot(Self.swapped(v), batch: 2, contracting: (3, 3))
        let dz = try p * (dp - (dByHead * byHead).sum([3], keep: true)) * scale
        let gradients = try [
            dz.dot(Self.swapped(k), batch: 2, contracting: (3, 2)), dz.dot(Self.swapped(q), batch: 2, contracting: (2, 2)),
            p.dot(dByHead, batch: 2, contracting: (2, 2)),
        ].map(Self.swapped)
        guard lengths == nil else { return gradients }
        let kinds: [PrimitiveComposite.Attention] = [.queryGradient, .keyGradient, .valueGradient]
        return zip(gradients, kinds).map { q.program.value($0, is: .attention($1), of: [q, k, v, logSumExp, dout, out]) }
    }
}

extension ScaledDotProductAttention {
    static func split(_ inputs: [PrimitiveValue?], heads: Int) throws -> AttentionParts {
        func split(_ x: PrimitiveValue) throws -> PrimitiveValue { try x.reshape([x.shape[0], x.shape[1], heads, x.width / heads]) }
        return try AttentionParts(q: split(inputs.at(Input.q)), k: split(inputs.at(Input.k)), v: split(inputs.at(Input.v)))
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (out, logSumExp) = try Self.split(inputs, heads: heads).attended(lengths: inputs.optional(Input.lengths))
        return [try out.reshape(inputs.at(Input.q).shape), logSumExp]
    }
}

extension ScaledDotProductAttentionGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let gradients = try ScaledDotProductAttention.split(inputs, heads: heads)
            .gradients(out: inputs.at(4), logSumExp: inputs.at(5), dout: inputs.at(6), lengths: inputs.optional(3))
        return try zip(gradients, 0..<3).map { try $0.reshape(inputs.at($1).shape) }
    }
}
