extension Graph {
    /// Nearest-neighbour resizing of channels-last images [B, H W, C], as torch's `interpolate(mode="nearest")`: pixel i of n reads i m / n,
    /// rounded down, of m.
    public func resizeNearest(_ x: Value, from: (height: Int, width: Int), to: (height: Int, width: Int)) throws -> Value {
        guard min(from.height, from.width, to.height, to.width) >= 1, shape(of: x).count == 3, shape(of: x)[1] == from.height * from.width,
            to.height <= Int(Int32.max) / to.width, from.height <= Int(Int32.max) / to.height, from.width <= Int(Int32.max) / to.width
        else {
            throw shapeError(
                "nearest resize", "x of shape \(shape(of: x)) for \(from.height) x \(from.width) to \(to.height) x \(to.width) pixels")
        }
        var ids: [Int32] = []
        ids.reserveCapacity(to.height * to.width)
        for y in 0..<to.height {
            for column in 0..<to.width { ids.append(Int32(y * from.height / to.height * from.width + column * from.width / to.width)) }
        }
        return try apply(GatherTokens(), [x, constant(indices: ids), nil, nil, nil])[0]
    }

    /// The same by a whole factor: each position becomes factor x factor.
    public func upsampleNearest(_ x: Value, height: Int, width: Int, factor: Int) throws -> Value {
        guard factor >= 1, height >= 1, width >= 1, height <= Int(Int32.max) / factor, width <= Int(Int32.max) / factor else {
            throw shapeError("upsampling", "factor \(factor) of \(height) x \(width) pixels")
        }
        return try resizeNearest(x, from: (height, width), to: (height * factor, width * factor))
    }
}
