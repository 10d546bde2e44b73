extension Graph {
    /// Nearest-neighbour upsampling of channels-last images [B, H W, C] by a whole factor: each position becomes factor x factor.
    public func upsampleNearest(_ x: Value, height: Int, width: Int, factor: Int) throws -> Value {
        guard factor >= 1, height >= 1, width >= 1, shape(of: x).count == 3, shape(of: x)[1] == height * width,
            height * width <= Int(Int32.max) / (factor * factor)
        else { throw shapeError("upsampling", "x of shape \(shape(of: x)) for \(height) x \(width) pixels, factor \(factor)") }
        var ids: [Int32] = []
        ids.reserveCapacity(height * width * factor * factor)
        for y in 0..<(height * factor) {
            for column in 0..<(width * factor) { ids.append(Int32(y / factor * width + column / factor)) }
        }
        return try apply(GatherTokens(), [x, constant(indices: ids), nil, nil, nil])[0]
    }
}
