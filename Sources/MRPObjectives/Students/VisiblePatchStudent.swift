import MRPEngine
import MRPModels

/// A vision transformer as student that computes the visible patches only; the decoder of masked autoencoders predicts at the hidden ones
/// (He et al. 2021; with a teacher's features as targets Baevski et al. 2023, data2vec 2.0).
public struct VisiblePatchStudent: MaskedStudent {
    let transformer: any TokenEncoder
    public var encoder: any ImageEncoder { transformer }
    /// Begins the names of the weights.
    let name: String
    public let outputs: Int
    public let masks: MaskChoice
    let decoder: MaskedDecoder

    public var parameters: [ParameterSpecification] { decoder.parameters(for: transformer, outputs: outputs, prefix: name + ".") }

    public func prediction(_ images: Value, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (tokens, restore) = try transformer.visibleTokens(images, count: masks.visibleCount(geometry), builder)
        let rows = try hiddenRows(builder.graph, batch: batch)
        return try decoder.decode(tokens, restore: restore, predicted: rows, builder, prefix: name + ".")
    }
}

extension TokenEncoder {
    /// The normed tokens [B, 1 + K, D] of the class and of the visible patches, and what `MaskedDecoder.decode` needs to put them back.
    func visibleTokens(_ images: Value, count: Int, _ builder: NetworkBuilder) throws -> (tokens: Value, restore: Value) {
        let graph = builder.graph
        let batch = graph.shape(of: images)[0]
        let visible = PatchMask.visible(images, count, graph)
        let positions = graph.input(PatchMask.positionsInput, TensorType([batch, count + 1], .int32), filledBy: .masks)
        let restore = graph.input(PatchMask.restoreInput, TensorType([batch, geometry.count + 1], .int32), filledBy: .masks)
        let tokens = try tokens(images, visible: (visible, positions), builder)
        try builder.watchFeatures(tokens, of: self)
        return (tokens, restore)
    }
}
