import MRPEngine
import MRPModels

/// Treatment of the hidden cells, or patches, of an image by a student.
public enum HiddenCells: String, CaseIterable, Sendable {
    /// Left out of all computation (He et al. 2021, MAE; Tian et al. 2023, SparK; Woo et al. 2023, FCMAE); a decoder predicts.
    case skip
    /// Computed, from pixels that are zero. Convolutional networks only.
    case zero
    /// Computed, from a learned mask token (Bao et al. 2022, BEiT). Vision transformers only.
    case token

    /// The outputs of all stages for images [B, C, H, W] of which the network sees `visibleCount` cells; with `skip` they hold these cells
    /// only.
    func stages(
        _ images: Value, visibleCount: Int, _ encoder: any ConvolutionalEncoder, _ builder: NetworkBuilder
    ) throws -> (maps: [FeatureMap], visible: VisibleCells?) {
        let last = encoder.stageWidths.count
        switch self {
        case .skip:
            let visible = try VisibleCells(PatchMask.visible(images, visibleCount, builder.graph), encoder.geometry, in: builder.graph)
            return (try encoder.stages(images, last: last, visible: visible, builder), visible)
        case .zero:
            let zeroed = try PatchMask.zeroed(images, encoder.geometry, visibleCount: visibleCount, builder.graph)
            return (try encoder.stages(zeroed, last: last, visible: nil, builder), nil)
        case .token: throw MRPError(.argument, "hidden_cells token needs a vision transformer: a convolutional network has no tokens")
        }
    }
}

extension PatchMask {
    /// The visible patches [B, K] of a batch of images.
    static func visible(_ images: Value, _ count: Int, _ graph: Graph) -> Value {
        graph.input(visibleInput, TensorType([graph.shape(of: images)[0], count], .int32), filledBy: .masks)
    }

    /// The images with the pixels of hidden patches zero.
    static func zeroed(_ images: Value, _ geometry: PatchGeometry, visibleCount: Int, _ graph: Graph) throws -> Value {
        let visible = visible(images, visibleCount, graph)
        let kept = try graph.apply(ExtractPatches(geometry, order: .channelsLast), [images, visible])[0]
        return try graph.apply(ScatterPatches(geometry, order: .channelsLast), [kept, visible])[0]
    }
}
