import MRPEngine

/// Channels-last features [B, H W, C] and how large their images are; with visible cells [B, K side^2, C].
public struct FeatureMap {
    public var value: Value
    public var height: Int
    public var width: Int

    public init(value: Value, height: Int, width: Int) {
        self.value = value
        self.height = height
        self.width = width
    }

    /// Images first ..< first + count of the batch.
    public func images(_ first: Int, _ count: Int, _ graph: Graph) throws -> FeatureMap {
        guard count < graph.shape(of: value)[0] else { return self }
        return FeatureMap(value: try graph.apply(SliceRows(first: first, count: count), [value])[0], height: height, width: width)
    }

    /// The cells of a grid of n x n over each image, row by row, as images of their own: [B, H W, C] -> [B n^2, h w, C]; H and W are multiples.
    public func cells(_ n: Int, _ graph: Graph) throws -> FeatureMap {
        guard n > 1 else { return self }
        let (rows, columns) = (height / n, width / n)
        let places = (0..<n * n).flatMap { cell in
            (0..<rows * columns).map { Int32((cell / n * rows + $0 / columns) * width + cell % n * columns + $0 % columns) }
        }
        let sorted = try graph.apply(GatherTokens(), [value, graph.constant(indices: places), nil, nil, nil])[0]
        let shape = graph.shape(of: value)
        let cells = try graph.apply(Reshape([shape[0] * n * n, rows * columns, shape[2]]), [sorted])[0]
        return FeatureMap(value: cells, height: rows, width: columns)
    }

    /// A convolution with a padding of `padding` (by default half the kernel), on visible places where some are given.
    public func convolution(
        _ weight: Value, bias: Value? = nil, kernel: Int, stride: Int, padding: Int? = nil, groups: Int = 1, visible: VisibleCells?,
        _ graph: Graph
    ) throws -> FeatureMap {
        let rows = try Window(height, kernel: kernel, stride: stride, padding: padding ?? kernel / 2)
        let columns = try Window(width, kernel: kernel, stride: stride, padding: padding ?? kernel / 2)
        let inputs = try Convolution.inputs(
            value, weight: weight, bias: bias, from: visible?.places(height: height), to: visible?.places(height: rows.outputSize))
        let value = try graph.apply(Convolution(rows: rows, columns: columns, groups: groups), inputs)[0]
        return FeatureMap(value: value, height: rows.outputSize, width: columns.outputSize)
    }
}
