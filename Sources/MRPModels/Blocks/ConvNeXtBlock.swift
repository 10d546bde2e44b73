import MRPEngine

/// The block of ConvNeXt V2 (Woo et al. 2023): x + mlp(norm(depthwise 7 x 7 of x)) with global response normalisation inside the mlp, under
/// timm's names. Also the one block of the decoder that predicts for hidden cells (`MaskedCellStudent`).
public struct ConvNeXtBlock: Equatable, Sendable {
    /// Begins the names of its weights.
    public let name: String
    /// timm stores the mlp's matrices of the small networks as 1 x 1 convolutions.
    let storesConvolutions: Bool

    public init(name: String, storesConvolutions: Bool = false) {
        self.name = name
        self.storesConvolutions = storesConvolutions
    }

    public func parameters(width: Int) -> [ParameterSpecification] {
        let one = storesConvolutions ? [1, 1] : []
        return convNeXtLayer(name + ".conv_dw", [width, 1, 7, 7]) + layerNormParameters(name + ".norm", width: width)
            + convNeXtLayer(name + ".mlp.fc1", [4 * width, width], [4 * width, width] + one)
            + [
                ParameterSpecification(name + ".mlp.grn.weight", [4 * width], .zeros, role: .norm),
                ParameterSpecification(name + ".mlp.grn.bias", [4 * width], .zeros, role: .norm),
            ] + convNeXtLayer(name + ".mlp.fc2", [width, 4 * width], [width, 4 * width] + one)
    }

    /// `index`: its place among the blocks that may be left out at random; nil: it never is.
    public func apply(_ x: FeatureMap, index: Int? = nil, visible: VisibleCells? = nil, _ builder: NetworkBuilder) throws -> FeatureMap {
        let (graph, width) = (builder.graph, builder.graph.shape(of: x.value)[2])
        var inner = try x.convolution(
            builder.weight(name + ".conv_dw.weight"), bias: builder.weight(name + ".conv_dw.bias"), kernel: 7, stride: 1, groups: width,
            visible: visible, graph)
        inner.value = try builder.linear(name + ".mlp.fc1", builder.layerNorm(name + ".norm", inner.value), gelu: true)
        let inputs = try [inner.value, builder.weight(name + ".mlp.grn.weight"), builder.weight(name + ".mlp.grn.bias")]
        inner.value = try graph.apply(ImageNorm(.response, epsilon: 1e-6), inputs)[0]
        let response = inner.value
        inner.value = try builder.branch(block: index, 0, residual: x.value) {
            try builder.linear(name + ".mlp.fc2", response, residual: $0)
        }
        return inner
    }
}

/// A convolution or linear layer with bias as ConvNeXt starts it.
func convNeXtLayer(_ name: String, _ shape: [Int], _ stored: [Int]? = nil) -> [ParameterSpecification] {
    [
        ParameterSpecification(name + ".weight", shape, .normal(std: 0.02), storedShape: stored),
        ParameterSpecification(name + ".bias", [shape[0]], .zeros, role: .bias),
    ]
}
