import MRPEngine

/// The decoder of a masked autoencoder (He et al. 2021, section 3): a small transformer on all tokens, with a learned mask token
/// at the places that the encoder did not see, and a linear layer to pixels. It is thrown away after pretraining.
public struct MaskedDecoder: Equatable, Sendable {
    public let transformer: TransformerConfiguration

    public init(_ transformer: TransformerConfiguration) { self.transformer = transformer }

    /// Its weights, their names after `prefix`; `outputs`: numbers that it predicts for a patch, nil: the pixels.
    public func parameters(for encoder: any TokenEncoder, outputs: Int? = nil, prefix: String = "") -> [ParameterSpecification] {
        let (width, geometry) = (transformer.width, encoder.geometry)
        let rows = 1 + geometry.count
        var list = [
            ParameterSpecification(prefix + "mask_token", [width], .normal(std: 0.02), role: .token, storedShape: [1, 1, width]),
            ParameterSpecification(
                prefix + "decoder_pos_embed", [rows, width],
                .sinCosPositions(gridHeight: geometry.gridHeight, gridWidth: geometry.gridWidth), role: .position,
                storedShape: [1, rows, width], isTrainable: false),
        ]
        list += linearParameters(prefix + "decoder_embed", from: encoder.featureWidth, to: width)
        for index in 0..<transformer.depth {
            list += transformerBlockParameters(prefix + "decoder_blocks.\(index)", width: width, hidden: transformer.hidden)
        }
        list += layerNormParameters(prefix + "decoder_norm", width: width)
        return list + linearParameters(prefix + "decoder_pred", from: width, to: outputs ?? geometry.patchValues)
    }

    /// Predicted patches [B, M, outputs]; pixels are ordered (row, column, channel) inside a patch.
    ///
    /// encoded [B, 1 + K, D]: the normed output of the encoder. `restore` [B, 1 + L] gives for the class token and each patch its
    /// row in `encoded`, or -1 where the mask token belongs. `predicted` [B, M] (or [M]) are the decoder rows to predict: patch
    /// l is row l + 1. Only these pass the last norm and the linear layer: in training the loss reads no other.
    public func decode(
        _ encoded: Value, restore: Value, predicted: Value, _ builder: NetworkBuilder, prefix: String = ""
    ) throws -> Value {
        let embedded = try builder.linear(prefix + "decoder_embed", encoded)
        var x = try builder.gather(
            embedded, ids: restore, fill: builder.weight(prefix + "mask_token"),
            table: builder.weight(prefix + "decoder_pos_embed"))
        for index in 0..<transformer.depth {
            x = try builder.transformerBlock(prefix + "decoder_blocks.\(index)", x, heads: transformer.heads)
        }
        return try builder.linear(prefix + "decoder_pred", builder.layerNorm(prefix + "decoder_norm", builder.gather(x, ids: predicted)))
    }
}
