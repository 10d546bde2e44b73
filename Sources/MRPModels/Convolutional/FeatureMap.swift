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
