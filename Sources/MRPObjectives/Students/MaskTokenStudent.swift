import MRPEngine
import MRPModels

/// A vision transformer as student: it sees every place of the image, with a learned mask token where a patch is hidden, and a linear layer
/// on its final norm predicts (Bao et al. 2022, BEiT; Xie et al. 2022, SimMIM).
public struct MaskTokenStudent: MaskedStudent {
    let transformer: any TokenEncoder
    public var encoder: any ImageEncoder { transformer }
    /// Begins the names of the weights.
    let name: String
    public let outputs: Int
    public let masks: MaskChoice

    public var parameters: [ParameterSpecification] {
        let width = encoder.featureWidth
        return [ParameterSpecification(name + ".mask_token", [width], .normal(std: 0.02), role: .token, storedShape: [1, 1, width])]
            + linearParameters(name + ".head", from: width, to: outputs)
    }

    public func prediction(_ images: Value, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        let kept = builder.graph.input(PatchMask.keptInput, TensorType([batch, encoder.geometry.count], .int32), filledBy: .masks)
        let tokens = try transformer.tokens(images, hidden: (kept, builder.weight(name + ".mask_token")), builder)
        try builder.watchFeatures(tokens, of: encoder)
        return try builder.linear(name + ".head", builder.gather(tokens, ids: hiddenRows(builder.graph, batch: batch)))
    }
}
