import MRPEngine

/// What a classifier reads of the encoder's tokens.
public enum Pooling: String, CaseIterable, Sendable {
    /// The mean over patch tokens, then a layer norm (`fc_norm`), as MAE fine-tunes.
    case mean
    /// The class token after the encoder's final norm.
    case cls
}

/// A linear classifier on pooled tokens.
public struct ClassifierHead: Equatable, Sendable {
    public let classes: Int
    public let pooling: Pooling

    public static let maximumClasses = 1 << 24

    public init(classes: Int, pooling: Pooling) throws {
        guard classes >= 2, classes <= Self.maximumClasses else {
            throw MRPError(.argument, "\(classes) classes is outside 2 ... \(Self.maximumClasses)")
        }
        self.classes = classes
        self.pooling = pooling
    }

    /// On a transformer: it starts like every other linear layer.
    public func parameters(width: Int) -> [ParameterSpecification] {
        let norm = pooling == .mean ? layerNormParameters("fc_norm", width: width) : []
        return norm + [
            ParameterSpecification("head.weight", [classes, width], .xavierUniform),
            ParameterSpecification("head.bias", [classes], .zeros),
        ]
    }

    /// Pooled features [B, D] of the last block's tokens [B, 1 + L, D].
    public func pool(_ tokens: Value, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        switch pooling {
        case .mean:
            return try builder.layerNorm("fc_norm", graph.apply(MeanTokens(first: 1), [tokens])[0])
        case .cls:
            // Norm of one row equals the row of the norm, so only the class token is normed.
            let row = try builder.gather(tokens, ids: graph.constant(indices: [0]))
            return try graph.apply(MeanTokens(first: 0), [builder.layerNorm("norm", row)])[0]
        }
    }

    /// Class scores before the softmax, [B, classes].
    public func logits(_ tokens: Value, _ builder: NetworkBuilder) throws -> Value {
        try builder.linear("head", pool(tokens, builder))
    }
}
