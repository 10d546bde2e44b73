import MRPEngine

extension NetworkBuilder {
    /// A pre-norm transformer block: x + attention(norm(x)), then x + mlp(norm(x)). `index` is its place among the blocks that may be
    /// left out; nil: it never is. `experts`: those in the place of its MLP.
    public func transformerBlock(
        _ name: String, _ x: Value, heads: Int, index: Int? = nil, experts: ExpertRouting? = nil
    ) throws -> Value {
        try graph.segment {
            let attended = try graph.apply(Attention(heads: heads), [qkv(name, x)])[0]
            let middle = try branch(block: index, 0, residual: x) { try linear(name + ".attn.proj", attended, residual: $0) }
            if let experts {
                let normed = try layerNorm(name + ".norm2", middle)
                return try branch(block: index, 1, residual: middle) { try expertLayer(name + ".mlp", normed, experts, residual: $0) }
            }
            let hidden = try linear(name + ".mlp.fc1", layerNorm(name + ".norm2", middle), gelu: true)
            return try branch(block: index, 1, residual: middle) { try linear(name + ".mlp.fc2", hidden, residual: $0) }
        }
    }

    /// The attention of such a block, softmax(q k^T / sqrt(d)), [B, heads, T, T]; x [B, T, D] is what the block reads.
    public func attentionWeights(_ name: String, _ x: Value, heads: Int) throws -> Value {
        try graph.apply(SoftmaxRows(), graph.apply(AttentionScores(heads: heads), [qkv(name, x)]))[0]
    }

    private func qkv(_ name: String, _ x: Value) throws -> Value {
        let layer = name + ".attn.qkv"
        let inputs = try [layerNorm(name + ".norm1", x), weight(layer + ".weight"), has(layer + ".bias") ? weight(layer + ".bias") : nil]
        return try graph.apply(MatrixProduct(transposeB: true), inputs + [nil])[0]
    }
}

/// The weights of a transformer block. `experts`: those in the place of its MLP. `hasQueryBias`: whether query, key and value have a bias.
public func transformerBlockParameters(
    _ name: String, width: Int, hidden: Int, experts: Mixture? = nil, hasQueryBias: Bool = true
) -> [ParameterSpecification] {
    layerNormParameters(name + ".norm1", width: width)
        + linearParameters(name + ".attn.qkv", from: width, to: 3 * width).filter { hasQueryBias || $0.role != .bias }
        + linearParameters(name + ".attn.proj", from: width, to: width)
        + layerNormParameters(name + ".norm2", width: width)
        + (experts?.parameters(name + ".mlp", width: width, hidden: hidden)
            ?? linearParameters(name + ".mlp.fc1", from: width, to: hidden) + linearParameters(name + ".mlp.fc2", from: hidden, to: width))
}

/// The names of these weights; `name`, `hub` and so on begin them in each spelling.
public func transformerBlockNames(_ name: String, hub: String, transformers5: String, transformers5Saved: String) -> [NameRow] {
    func join(_ prefix: String, _ names: String) -> String {
        names.split(separator: "|").map { prefix + "." + $0 }.joined(separator: "|")
    }
    return transformerBlockLayers.map { layer in
        NameRow(
            join(name, layer.name), hub: join(hub, layer.hub), transformers5: join(transformers5, layer.transformers5),
            transformers5Saved: join(transformers5Saved, layer.hub))
    }
}

private let transformerBlockLayers: [(name: String, hub: String, transformers5: String)] = [
    ("norm1", "layernorm_before", "layernorm_before"),
    (
        "attn.qkv", "attention.attention.query|attention.attention.key|attention.attention.value",
        "attention.q_proj|attention.k_proj|attention.v_proj"
    ),
    ("attn.proj", "attention.output.dense", "attention.o_proj"),
    ("norm2", "layernorm_after", "layernorm_after"),
    ("mlp.fc1", "intermediate.dense", "mlp.fc1"),
    ("mlp.fc2", "output.dense", "mlp.fc2"),
]
