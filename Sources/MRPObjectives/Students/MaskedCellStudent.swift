import MRPEngine
import MRPModels

/// A convolutional network as student, with the decoder of FCMAE (Woo et al. 2023, "ConvNeXt V2: Co-designing and Scaling ConvNets with
/// Masked Autoencoders"): the encoder computes the visible cells only, its last features are brought to the decoder's width, a learned mask
/// token stands at hidden positions, one ConvNeXt block lets the positions know of each other, and a convolution over each cell predicts.
///
/// With `HiddenCells.zero` the network is dense, on images whose hidden cells are zero, and there is no mask token.
public struct MaskedCellStudent: MaskedStudent {
    let network: any ConvolutionalEncoder
    public var encoder: any ImageEncoder { network }
    /// Begins the names of the weights.
    let name: String
    public let outputs: Int
    public let masks: MaskChoice
    public let decoderWidth: Int
    public let hiddenCells: HiddenCells

    init(
        network: any ConvolutionalEncoder, name: String, outputs: Int, masks: MaskChoice, decoderWidth: Int, hiddenCells: HiddenCells
    ) throws {
        try network.checkMaskable()
        self.network = network
        self.name = name
        self.outputs = outputs
        self.masks = masks
        self.decoderWidth = decoderWidth
        self.hiddenCells = hiddenCells
    }

    private var block: ConvNeXtBlock { ConvNeXtBlock(name: name + ".block") }
    /// Positions of the last stage per axis of a cell.
    private var side: Int { network.geometry.patchHeight / network.downsampling }

    public var parameters: [ParameterSpecification] {
        let token = ParameterSpecification(
            name + ".mask_token", [decoderWidth], .normal(std: 0.02), role: .token, storedShape: [1, decoderWidth, 1, 1])
        let bound = Initializer.uniform(bound: 1 / Double(decoderWidth * side * side).squareRoot())
        return linearParameters(name + ".embed", from: encoder.featureWidth, to: decoderWidth)
            + (hiddenCells == .skip ? [token] : []) + block.parameters(width: decoderWidth) + [
                ParameterSpecification(name + ".head.weight", [outputs, decoderWidth, side, side], bound),
                ParameterSpecification(name + ".head.bias", [outputs], .zeros, role: .bias),
            ]
    }

    public func prediction(_ images: Value, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let (maps, visible) = try hiddenCells.stages(images, visibleCount: masks.visibleCount(geometry), network, builder)
        var x = maps[maps.count - 1]
        try builder.watchFeatures(x.value, of: encoder)
        x.value = try builder.linear(name + ".embed", x.value)
        if let visible {
            x.value = try builder.gather(x.value, ids: visible.places(height: x.height).places, fill: builder.weight(name + ".mask_token"))
        }
        x = try block.apply(x, builder)
        let cells = try x.convolution(
            builder.weight(name + ".head.weight"), bias: builder.weight(name + ".head.bias"), kernel: side, stride: side, padding: 0,
            visible: nil, graph)
        return try builder.gather(cells.value, ids: hidden(graph, batch: batch))
    }
}
