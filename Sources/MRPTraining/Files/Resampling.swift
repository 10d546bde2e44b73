import MRPEngine

/// Weights for another grid, another patch size, another number of channels.
enum Resampling {
    typealias Size = (height: Int, width: Int)

    /// The matrix [new, old] of bicubic interpolation (a = -0.5) along one axis, widened when it shrinks so that nothing aliases; pixel
    /// centres are at i + 1/2. As PyTorch's `interpolate(mode="bicubic", antialias=True)`.
    static func bicubic(from old: Int, to new: Int) -> [[Double]] {
        let scale = Double(old) / Double(new)
        let widening = max(scale, 1)
        return (0..<new).map { row in
            let centre = scale * (Double(row) + 0.5)
            let first = max(Int(centre - 2 * widening + 0.5), 0)
            let end = min(Int(centre + 2 * widening + 0.5), old)
            var weights = [Double](repeating: 0, count: old)
            for index in first..<end { weights[index] = kernel((Double(index) - centre + 0.5) / widening) }
            let sum = weights.reduce(0, +)
            return weights.map { $0 / sum }
        }
    }

    private static func kernel(_ x: Double) -> Double {
        let (a, x) = (-0.5, x.magnitude)
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }

    /// Positions [1 + rows x columns, width] for another grid, as timm's `resample_abs_pos_embed`: the class token keeps its row.
    static func positions(_ table: [Float], width: Int, from old: Size, to new: Size) -> [Float] {
        let grid = apply(
            bicubic(from: old.height, to: new.height), bicubic(from: old.width, to: new.width), to: table[width...].map { Double($0) },
            inner: width)
        return Array(table[..<width]) + grid.map { Float($0) }
    }

    /// Patch weights [outputs x channels, height, width] for another patch size, as timm's `resample_patch_embed` (Beyer et al. 2023,
    /// FlexiViT): with B the interpolation of a patch, the new weights are pinv(B^T) times the old ones, so that on interpolated
    /// patches they give what the old ones gave. `from` and `to` are at most 256 each way.
    static func patches(_ weights: [Float], from old: Size, to new: Size) throws -> [Float] {
        let (rows, columns) = (
            try pseudoinverse(bicubic(from: old.height, to: new.height)), try pseudoinverse(bicubic(from: old.width, to: new.width))
        )
        let size = old.height * old.width
        var result: [Float] = []
        result.reserveCapacity(weights.count / size * new.height * new.width)
        for start in stride(from: 0, to: weights.count, by: size) {
            result += apply(rows, columns, to: weights[start..<(start + size)].map { Double($0) }, inner: 1).map { Float($0) }
        }
        return result
    }

    /// Patch weights [outputs, from, pixels] for other channels: repeated in turn (timm's `adapt_input_conv`), or each the mean of all; scaled
    /// so that the sum over channels stays, and one channel gets the sum.
    static func channels(_ weights: [Float], outputs: Int, pixels: Int, from old: Int, to new: Int, averages: Bool) -> [Float] {
        var result = [Float](repeating: 0, count: outputs * new * pixels)
        for output in 0..<outputs {
            for pixel in 0..<pixels {
                func weight(_ channel: Int) -> Double { Double(weights[(output * old + channel) * pixels + pixel]) }
                let sum = (0..<old).reduce(0) { $0 + weight($1) }
                for channel in 0..<new {
                    let value = averages || new == 1 ? sum / Double(new) : weight(channel % old) * Double(old) / Double(new)
                    result[(output * new + channel) * pixels + pixel] = Float(value)
                }
            }
        }
        return result
    }

    /// rows x X x columns^T for X [old height, old width, inner].
    private static func apply(_ rows: [[Double]], _ columns: [[Double]], to values: [Double], inner: Int) -> [Double] {
        let (oldHeight, oldWidth) = (rows[0].count, columns[0].count)
        var middle = [Double](repeating: 0, count: rows.count * oldWidth * inner)
        for (y, weights) in rows.enumerated() {
            for source in 0..<oldHeight where weights[source] != 0 {
                for x in 0..<(oldWidth * inner) {
                    middle[y * oldWidth * inner + x] += weights[source] * values[source * oldWidth * inner + x]
                }
            }
        }
        var result = [Double](repeating: 0, count: rows.count * columns.count * inner)
        for y in rows.indices {
            for (x, weights) in columns.enumerated() {
                for source in 0..<oldWidth where weights[source] != 0 {
                    for k in 0..<inner {
                        result[(y * columns.count + x) * inner + k] += weights[source] * middle[(y * oldWidth + source) * inner + k]
                    }
                }
            }
        }
        return result
    }

    /// pinv(B^T) for B [new, old] of full rank: B (B^T B)^-1 when it grows, (B B^T)^-1 B when it shrinks. The result is [new, old].
    static func pseudoinverse(_ matrix: [[Double]]) throws -> [[Double]] {
        let (new, old) = (matrix.count, matrix[0].count)
        let transposed = (0..<old).map { column in (0..<new).map { matrix[$0][column] } }
        func gram(_ rows: [[Double]]) -> [[Double]] {
            rows.map { left in rows.map { right in zip(left, right).reduce(0) { $0 + $1.0 * $1.1 } } }
        }
        if new >= old {
            // Columns of (B^T B)^-1 B^T, that is rows of B (B^T B)^-1.
            let solved = try solve(gram(transposed), transposed)
            return (0..<new).map { row in (0..<old).map { solved[$0][row] } }
        }
        return try solve(gram(matrix), matrix)
    }

    /// X with A X = B, by elimination with the largest pivot.
    private static func solve(_ matrix: [[Double]], _ right: [[Double]]) throws -> [[Double]] {
        var (a, b) = (matrix, right)
        for column in a.indices {
            let pivot = (column..<a.count).max { a[$0][column].magnitude < a[$1][column].magnitude } ?? column
            guard a[pivot][column].magnitude > 1e-12 else { throw MRPError(.numeric, "the patch weights cannot be resampled: singular") }
            a.swapAt(column, pivot)
            b.swapAt(column, pivot)
            for row in a.indices where row != column {
                let factor = a[row][column] / a[column][column]
                guard factor != 0 else { continue }
                for index in column..<a.count { a[row][index] -= factor * a[column][index] }
                for index in b[row].indices { b[row][index] -= factor * b[column][index] }
            }
        }
        return a.indices.map { row in b[row].map { $0 / a[row][row] } }
    }
}
