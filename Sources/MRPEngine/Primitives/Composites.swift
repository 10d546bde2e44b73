extension PrimitiveValue {
    /// Sum over all dimensions.
    func total() throws -> PrimitiveValue { try sum(Array(shape.indices)) }

    func mean(_ axes: [Int], keep: Bool = false) throws -> PrimitiveValue {
        try sum(axes, keep: keep) / Double(axes.reduce(1) { $0 * shape[$1] })
    }

    /// self - mean and the (biased) variance; the reduced axes are kept.
    func centered(_ axes: [Int]) throws -> (mean: PrimitiveValue, difference: PrimitiveValue, variance: PrimitiveValue) {
        let mean = try mean(axes, keep: true)
        let difference = try self - mean
        return (mean, difference, try difference.squared().mean(axes, keep: true))
    }

    /// Over the last dimension: softmax and log-sum-exp (with a last dimension of 1).
    func softmax() throws -> (probabilities: PrimitiveValue, logSumExp: PrimitiveValue) {
        let largest = try max([last], keep: true)
        let powers = try (self - largest).exp()
        let sum = try powers.sum([last], keep: true)
        return (try program.value(powers / sum, is: .softmax, of: [self]), try largest + sum.log())
    }

    /// Phi, the standard normal distribution function.
    func normalDistribution() throws -> PrimitiveValue { try 0.5 * ((self * 0.5.squareRoot()).erf() + 1) }

    func gelu() throws -> PrimitiveValue { try program.value(self * normalDistribution(), is: .gelu, of: [self]) }

    /// d gelu / dx = Phi(x) + x phi(x).
    func geluDerivative() throws -> PrimitiveValue {
        let density = try (squared() * -0.5).exp() * (0.5 / Double.pi).squareRoot()
        return try normalDistribution() + self * density
    }

    func activated(_ activation: BatchNorm.Activation) throws -> PrimitiveValue {
        switch activation {
        case .none: return self
        case .relu: return try Self.binary(.maximum, self, program.constant(0, shape, element))
        case .relu6: return try clamped(0, 6)
        }
    }

    /// True where the label [rows] is the column: [rows, classes].
    func isOne(of classes: Int) throws -> PrimitiveValue { try reshape([type.count, 1]) .== program.iota(classes) }

    // MARK: Rows

    /// Ids [..., K]: whether they lie in 0 ..< count, [..., K, 1].
    func isRow(of count: Int) throws -> PrimitiveValue { try ((self .>= 0) .& (self .< Double(count))).reshape(shape + [1]) }

    /// Ids [K] or [B, K] of the rows of an image, in range or made so, as numbers [B, K] among the rows of the batch.
    private func rowOfBatch(_ batch: Int, count: Int) throws -> PrimitiveValue {
        try clamped(0, Double(count - 1)) + program.iota(batch).reshape([batch, 1]) * Double(count)
    }

    /// self [B, R, W], ids [K] or [B, K] -> [B, K, W]: the rows that ids name, `fill` [W] (zeros without) where there is none.
    func gatheredRows(_ ids: PrimitiveValue, else fill: PrimitiveValue? = nil) throws -> PrimitiveValue {
        let rows =
            ids.rank == 1
            ? try program.apply(.gather(dimension: 1), [self, ids.clamped(0, Double(shape[1] - 1))])
            : try program.apply(.gather(dimension: 0), [matrix(), ids.rowOfBatch(shape[0], count: shape[1])])
        let isInside = try ids.isRow(of: shape[1])
        return try fill.map { try isInside.choose(rows, $0) } ?? isInside.choose(rows, 0)
    }

    /// The reverse and the gradient: self [B, K, W], ids [K] or [B, K] -> [B, count, W], rows of equal ids added, without the others.
    func scatteredRows(_ ids: PrimitiveValue, count: Int) throws -> PrimitiveValue {
        let isInside = try ids.isRow(of: count).reshape(ids.shape)
        let indices = try isInside.choose(ids.rowOfBatch(shape[0], count: count), -1).reshape([rows])
        return try program.apply(.scatterAdd(rows: shape[0] * count), [matrix(), indices]).reshape([shape[0], count, width])
    }

    // MARK: Images

    func convolve(
        _ weight: PrimitiveValue, _ rows: PrimitiveWindow, _ columns: PrimitiveWindow, groups: Int
    ) throws -> PrimitiveValue { try program.apply(.convolution(rows: rows, columns: columns, groups: groups), [self, weight]) }

    func reduceWindow(
        _ reduction: Primitive.Reduction, _ rows: PrimitiveWindow, _ columns: PrimitiveWindow
    ) throws -> PrimitiveValue { try program.apply(.reduceWindow(reduction, rows: rows, columns: columns), [self]) }
}
