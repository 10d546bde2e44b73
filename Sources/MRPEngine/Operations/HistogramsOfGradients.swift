import CMRPKernels

/// Histograms of oriented gradients (Dalal & Triggs 2005) of the cells of each patch, per channel, as scikit-image's `hog` makes them with
/// blocks of one cell and `block_norm="L2"`: the target of MaskFeat. Images [B, C, H, W] -> [B, L, cells C bins]. No gradient.
public struct HistogramsOfGradients: Operation {
    public let geometry: PatchGeometry
    /// Rows of cells of a patch; the fewest whose cells have at most 8 pixels a side.
    public let cellRows: Int
    public let cellColumns: Int
    public let bins: Int

    public static let largestCell = 8
    private static let epsilon = 1e-5

    public init(_ geometry: PatchGeometry, bins: Int = 9) {
        self.geometry = geometry
        self.bins = min(max(bins, 1), Int(MK_HOG_BINS))
        cellRows = Self.cells(geometry.patchHeight)
        cellColumns = Self.cells(geometry.patchWidth)
    }

    private static func cells(_ side: Int) -> Int {
        (1...side).first { side % $0 == 0 && side / $0 <= largestCell } ?? side
    }

    /// Numbers of a patch.
    public var values: Int { cellRows * cellColumns * geometry.channels * bins }

    public var name: String { "histograms of gradients" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let images = inputs.first ?? nil, Array(images.shape.dropFirst()) == geometry.imageShape else {
            throw shapeError(name, "images must be [batch] + \(geometry.imageShape)")
        }
        return [TensorType([images.shape[0], geometry.count, values])]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let problem = mk_hog(
            batch: Int64(call.type(0).shape[0]), channels: Int64(geometry.channels), height: Int64(geometry.height),
            width: Int64(geometry.width), grid_height: Int64(geometry.gridHeight), grid_width: Int64(geometry.gridWidth),
            cell_rows: Int64(cellRows), cell_columns: Int64(cellColumns), cell_height: Int64(geometry.patchHeight / cellRows),
            cell_width: Int64(geometry.patchWidth / cellColumns), bins: Int64(bins), epsilon: Self.epsilon, images: call.input(0),
            out: call.outputs[0])
        let (pool, run) = (call.pool, call.kernels.hog)
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0) } }
    }
}

extension HistogramsOfGradients: HostOperation {}
