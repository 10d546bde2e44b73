import MRPEngine

/// An encoder whose stages make images of features, each stage coarser than the one before: what masked pretraining of convolutional
/// networks needs to know of one.
public protocol ConvolutionalEncoder: ImageEncoder {
    /// Pixels, per axis, of one position of the last stage.
    var downsampling: Int { get }
    /// Channels of each stage's output.
    var stageWidths: [Int] { get }
    /// Whether layer norm is its norm, else batch norm.
    var usesLayerNorm: Bool { get }

    /// The outputs of the stages 1 ... `last` of images [B, C, H, W]. With `visible`, only these cells are computed: what lies elsewhere
    /// counts as zero for a convolution and not at all for a norm or a maximum (Tian et al. 2023, SparK).
    func stages(_ images: Value, last: Int, visible: VisibleCells?, _ builder: NetworkBuilder) throws -> [FeatureMap]
}

extension ConvolutionalEncoder {
    public var depth: Int { stageWidths.count }
    public var featureWidth: Int { stageWidths[stageWidths.count - 1] }
    public var hasClassToken: Bool { false }
    /// The stages' sizes differ.
    public var alikeLayers: Int { 1 }
    public var convolutionalEncoder: (any ConvolutionalEncoder)? { self }

    /// The geometry for a network of this downsampling: its patches are the cells of a mask, `cellSize` pixels on each side, by default
    /// the network's downsampling; single pixels where the image is no multiple of it, and then it cannot be masked.
    static func geometry(channels: Int, height: Int, width: Int, downsampling: Int, cellSize: Int?) throws -> PatchGeometry {
        if let cellSize {
            guard cellSize >= 1, cellSize % downsampling == 0 else {
                throw MRPError(.argument, "cell_size \(cellSize) is not a multiple of \(downsampling), the network's downsampling")
            }
            return try PatchGeometry(channels: channels, height: height, width: width, patchHeight: cellSize, patchWidth: cellSize)
        }
        let side = height % downsampling == 0 && width % downsampling == 0 ? downsampling : 1
        return try PatchGeometry(channels: channels, height: height, width: width, patchHeight: side, patchWidth: side)
    }

    /// The pixels of images [B, C, H, W], channels last: all, or those of visible cells.
    func pixels(_ images: Value, visible: VisibleCells?, _ graph: Graph) throws -> FeatureMap {
        let ids = try visible?.places(height: geometry.height).pixels
        let value = try graph.apply(ExtractPatches(pixelGeometry, order: .channelsLast), [images, ids])[0]
        return FeatureMap(value: value, height: geometry.height, width: geometry.width)
    }

    /// Single pixels as patches: how images become channels last, and back.
    public var pixelGeometry: PatchGeometry {
        PatchGeometry(pixelsOf: geometry)
    }

    public func features(_ images: Value, layer: Int?, pooling: Pooling?, _ builder: NetworkBuilder) throws -> Value {
        let maps = try stages(images, last: layer ?? depth, visible: nil, builder)
        return maps[maps.count - 1].value
    }

    public func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value] {
        try stages(images, last: depth, visible: nil, builder).map(\.value)
    }

    /// Mean over the positions of each cell, of features of the last stage.
    public func patchTokens(_ features: Value, _ builder: NetworkBuilder) throws -> Value {
        let side = geometry.patchHeight / downsampling
        guard side > 1 else { return features }
        let rows = try Window(geometry.gridHeight * side, kernel: side, stride: side)
        let columns = try Window(geometry.gridWidth * side, kernel: side, stride: side)
        return try builder.graph.apply(Pool(.average, rows: rows, columns: columns), Pool.inputs(features))[0]
    }

    public func checkMaskable() throws {
        guard geometry.patchHeight == geometry.patchWidth, geometry.patchHeight % downsampling == 0 else {
            throw MRPError(
                .argument,
                "images of \(geometry.height) x \(geometry.width) are not made of cells of \(downsampling) pixels, the network's downsampling"
            )
        }
    }
}
