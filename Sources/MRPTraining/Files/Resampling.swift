import MRPEngine

/// Weights for another grid, another patch size, another number of channels.
enum Resampling {
    typealias Size = (height: Int, width: Int)
    typealias Source = UnsafeBufferPointer<Float>
    typealias Target = UnsafeMutableBufferPointer<Float>

    /// The matrix [new, old] of bicubic interpolation (a = -0.5) along one axis, widened when it shrinks so that nothing aliases; pixel
    /// centres are at i + 1/2. As PyTorch's `interpolate(mode="bicubic", antialias=True)`.
    static func bicubic(from old: Int, to new: Int) throws -> Matrix {
        let scale = Double(old) / Double(new)
        let widening = max(scale, 1)
        let matrix = try Matrix(new, old)
        for row in 0..<new {
            let centre = scale * (Double(row) + 0.5)
            let first = max(Int(centre - 2 * widening + 0.5), 0)
            let end = min(Int(centre + 2 * widening + 0.5), old)
            var sum = 0.0
            for index in first..<end {
                matrix[row, index] = kernel((Double(index) - centre + 0.5) / widening)
                sum += matrix[row, index]
            }
            for index in first..<end { matrix[row, index] /= sum }
        }
        return matrix
    }

    private static func kernel(_ x: Double) -> Double {
        let (a, x) = (-0.5, x.magnitude)
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }

    /// Positions [1 + rows x columns, width] for another grid, as timm's `resample_abs_pos_embed`: the class token keeps its row.
    static func positions(_ table: Source, width: Int, from old: Size, to new: Size, into target: Target) throws {
        let (rows, columns) = (try bicubic(from: old.height, to: new.height), try bicubic(from: old.width, to: new.width))
        _ = target[..<width].update(fromContentsOf: table[..<width])
        try apply(
            rows, columns, to: Source(rebasing: table[width...]), inner: width, into: Target(rebasing: target[width...]))
    }

    /// Patch weights [outputs x channels, height, width] for another patch size, as timm's `resample_patch_embed` (Beyer et al. 2023,
    /// FlexiViT): with B the interpolation of a patch, the new weights are pinv(B^T) times the old ones, so that on interpolated
    /// patches they give what the old ones gave. `from` and `to` are at most 256 each way.
    static func patches(_ weights: Source, from old: Size, to new: Size, into target: Target) throws {
        let rows = try pseudoinverse(bicubic(from: old.height, to: new.height))
        let columns = try pseudoinverse(bicubic(from: old.width, to: new.width))
        let (size, newSize) = (old.height * old.width, new.height * new.width)
        for patch in 0..<weights.count / size {
            try Interruption.check()
            try apply(
                rows, columns, to: Source(rebasing: weights[(patch * size)..<((patch + 1) * size)]), inner: 1,
                into: Target(rebasing: target[(patch * newSize)..<((patch + 1) * newSize)]))
        }
    }

    /// Patch weights [outputs, from, pixels] for other channels: repeated in turn (timm's `adapt_input_conv`), or each the mean of all; scaled
    /// so that the sum over channels stays, and one channel gets the sum.
    static func channels(
        _ weights: Source, outputs: Int, pixels: Int, from old: Int, to new: Int, averages: Bool, into target: Target
    ) {
        for output in 0..<outputs {
            for pixel in 0..<pixels {
                func weight(_ channel: Int) -> Double { Double(weights[(output * old + channel) * pixels + pixel]) }
                let sum = (0..<old).reduce(0) { $0 + weight($1) }
                for channel in 0..<new {
                    let value = averages || new == 1 ? sum / Double(new) : weight(channel % old) * Double(old) / Double(new)
                    target[(output * new + channel) * pixels + pixel] = Float(value)
                }
            }
        }
    }

    /// rows x X x columns^T for X [old height, old width, inner].
    private static func apply(_ rows: Matrix, _ columns: Matrix, to values: Source, inner: Int, into target: Target) throws {
        let (oldHeight, oldWidth) = (rows.columns, columns.columns)
        let middle = try Matrix(rows.rows, oldWidth * inner)
        for y in 0..<rows.rows {
            for source in 0..<oldHeight where rows[y, source] != 0 {
                for x in 0..<(oldWidth * inner) {
                    middle[y, x] += rows[y, source] * Double(values[source * oldWidth * inner + x])
                }
            }
        }
        let sums = try Matrix(1, inner)
        for y in 0..<rows.rows {
            for x in 0..<columns.rows {
                for k in 0..<inner { sums[0, k] = 0 }
                for source in 0..<oldWidth where columns[x, source] != 0 {
                    for k in 0..<inner { sums[0, k] += columns[x, source] * middle[y, source * inner + k] }
                }
                for k in 0..<inner { target[(y * columns.rows + x) * inner + k] = Float(sums[0, k]) }
            }
        }
    }

    /// pinv(B^T) for B [new, old] of full rank: B (B^T B)^-1 when it grows, (B B^T)^-1 B when it shrinks. The result is [new, old].
    static func pseudoinverse(_ matrix: Matrix) throws -> Matrix {
        guard matrix.rows >= matrix.columns else { return try solve(gram(matrix), matrix) }
        // Columns of (B^T B)^-1 B^T, that is rows of B (B^T B)^-1.
        let transposed = try matrix.transposed()
        return try solve(gram(transposed), transposed).transposed()
    }

    /// M M^T.
    private static func gram(_ matrix: Matrix) throws -> Matrix {
        let result = try Matrix(matrix.rows, matrix.rows)
        for row in 0..<matrix.rows {
            for column in 0..<matrix.rows {
                result[row, column] = (0..<matrix.columns).reduce(0) { $0 + matrix[row, $1] * matrix[column, $1] }
            }
        }
        return result
    }

    /// X with A X = B, by elimination with the largest pivot; A and B are overwritten where they are not used further.
    private static func solve(_ a: Matrix, _ right: Matrix) throws -> Matrix {
        let b = try right.copy()
        for column in 0..<a.rows {
            let pivot = (column..<a.rows).max { a[$0, column].magnitude < a[$1, column].magnitude } ?? column
            guard a[pivot, column].magnitude > 1e-12 else { throw MRPError(.numeric, "the patch weights cannot be resampled: singular") }
            a.swapRows(column, pivot)
            b.swapRows(column, pivot)
            for row in 0..<a.rows where row != column {
                let factor = a[row, column] / a[column, column]
                guard factor != 0 else { continue }
                for index in column..<a.columns { a[row, index] -= factor * a[column, index] }
                for index in 0..<b.columns { b[row, index] -= factor * b[column, index] }
            }
        }
        for row in 0..<a.rows {
            for index in 0..<b.columns { b[row, index] /= a[row, row] }
        }
        return b
    }

    /// A matrix of doubles, zero at first. It is a reference: copies of it share the numbers.
    struct Matrix {
        let rows: Int
        let columns: Int
        private let memory: Memory
        private let values: UnsafeMutableBufferPointer<Double>

        /// Errors: `.memory`.
        init(_ rows: Int, _ columns: Int) throws {
            (self.rows, self.columns) = (rows, columns)
            let count = try checkedProduct([rows, columns], "an interpolation of \(rows) x \(columns)")
            memory = try Memory(count, elementBytes: 8, zeroed: true, for: "an interpolation of \(rows) x \(columns)")
            values = memory.typed(Double.self)
        }

        subscript(row: Int, column: Int) -> Double {
            get { values[row * columns + column] }
            nonmutating set { values[row * columns + column] = newValue }
        }

        func copy() throws -> Matrix {
            let result = try Matrix(rows, columns)
            _ = result.values.update(fromContentsOf: values)
            return result
        }

        func transposed() throws -> Matrix {
            let result = try Matrix(columns, rows)
            for row in 0..<rows {
                for column in 0..<columns { result[column, row] = self[row, column] }
            }
            return result
        }

        func swapRows(_ first: Int, _ second: Int) {
            guard first != second else { return }
            for column in 0..<columns { values.swapAt(first * columns + column, second * columns + column) }
        }
    }
}
