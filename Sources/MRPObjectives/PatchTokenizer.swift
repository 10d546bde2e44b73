import MRPEngine
import MRPModels

/// Turns patches into discrete tokens: a codebook of k patches, found by k-means on the user's images (Lloyd 1982), and for each patch the
/// number of the nearest. Standardised patches (`normalizes`) are told apart by their structure, raw ones mostly by their colour.
public struct PatchTokenizer: Equatable, Sendable {
    public let geometry: PatchGeometry
    public let tokens: Int
    public let normalizes: Bool

    static let codebook = "tokenizer.codebook"
    /// -|c|^2 / 2 of each entry: the nearest entry c of x is that with the largest <x, c> - |c|^2 / 2.
    static let bias = "tokenizer.bias"

    var parameters: [ParameterSpecification] {
        [
            ParameterSpecification(Self.codebook, [tokens, geometry.patchValues], .zeros, role: .measured),
            ParameterSpecification(Self.bias, [tokens], .zeros, role: .measured),
        ]
    }

    /// Patches [B, K, p^2 C] as the codebook holds them; `ids` names them, nil: all.
    func patches(_ images: Value, ids: Value?, _ graph: Graph) throws -> Value {
        let patches = try graph.apply(ExtractPatches(geometry, order: .channelsFirst), [images, ids])[0]
        return normalizes ? try graph.apply(StandardizeRows(epsilon: 1e-2), [patches])[0] : patches
    }

    /// The token of each patch, [B K] int32.
    func tokens(of patches: Value, _ builder: NetworkBuilder) throws -> Value {
        let (codebook, bias) = (try builder.weight(Self.codebook), try builder.weight(Self.bias))
        return try Self.nearest(patches, codebook: codebook, bias: bias, builder.graph)
    }

    static func nearest(_ patches: Value, codebook: Value, bias: Value, _ graph: Graph) throws -> Value {
        let scores = try graph.apply(MatrixProduct(transposeB: true), [patches, codebook, bias])[0]
        return try graph.apply(LargestOfRow(), [scores])[0]
    }
}
