import CMRPKernels

/// Balanced k-means: spherical k-means on whitened features in which every cluster gets about the same number of samples.
///
/// - Features f, [N, D], lose their mean; the first q = min(32, D / 2) principal components are scaled to the variance 1 (PCA whitening) and the
///   rows u to the length 1.
/// - Samples are assigned by P = exp((u . c - 1) / 0.05), whose columns and rows are brought to N / m and 1 in turn ten times (Sinkhorn & Knopp
///   1967; Caron et al. 2020, "SwAV", arXiv 2006.09882); each goes where its row of P is largest. Centres are the normalised means. Twenty rounds; a
///   cluster that got nothing takes a random sample.
/// - Later features are assigned by the same mean, whitening and largest u . c, unbalanced.
///
/// Results depend on features, number of clusters and seed alone. Equal scores: the first cluster.
public struct BalancedClusters {
    /// [D]
    public let mean: Tensor
    /// [D, q]; a column of zeros where the features have fewer directions.
    public let whitening: Tensor
    /// [m, q], rows of length 1.
    public let centres: Tensor

    public var count: Int { centres.shape[0] }
    public var width: Int { whitening.shape[0] }

    private static let rounds = 20
    private static let balancing = 10
    private static let epsilon = 0.05
    /// Directions with less than this share of the first one's variance are taken for rounding errors.
    private static let leastVariance = 1e-10
    /// Samples between two looks at the caller's wish to stop.
    private static let chunk = 4_096

    /// Principal components that are kept of features of this width.
    public static func directions(_ width: Int) -> Int { max(1, min(32, width / 2)) }

    /// Clusters found before. Errors: `.format` when the shapes do not belong together.
    public init(mean: Tensor, whitening: Tensor, centres: Tensor) throws {
        guard mean.shape.count == 1, whitening.shape.count == 2, centres.shape.count == 2, mean.shape[0] == whitening.shape[0],
            whitening.shape[1] == centres.shape[1], centres.shape[0] > 0
        else {
            throw MRPError(
                .format, "clusters with a mean of shape \(mean.shape), a whitening of \(whitening.shape) and centres of \(centres.shape)")
        }
        (self.mean, self.whitening, self.centres) = (mean, whitening, centres)
    }

    /// The clusters of features [N, D], and the balanced assignment [N], int32.
    ///
    /// - what: the samples in errors: "images".
    ///
    /// Errors: `.argument` for fewer than two samples, more clusters than samples, features that are all equal; `.numeric` for values that are
    /// not finite; `.memory`; `Cancelled`.
    public static func fit(
        _ features: Tensor, clusters: Int, seed: UInt64, compute: Compute, what: String = "samples"
    ) throws -> (clusters: BalancedClusters, ids: Tensor) {
        let (rows, width) = (features.shape[0], features.shape[1])
        guard rows >= 2 else { throw MRPError(.argument, "clusters need 2 \(what) at least, there are \(rows)") }
        guard clusters >= 1, clusters <= rows else {
            throw MRPError(.argument, "clusters \(clusters) is outside 1 ... \(rows), the number of \(what)")
        }
        let result = try BalancedClusters(
            principal: features, compute, what: what, centres: try Tensor([clusters, directions(width)]))
        let ids = try Tensor(TensorType([rows], .int32))
        try result.turn(result.whitened(features, compute, what: what), into: ids, seed: seed, compute)
        return (result, ids)
    }

    /// The nearest cluster of each row of features [N, D], int32. Errors: `.argument` for another width, `.numeric`, `.memory`.
    public func assign(_ features: Tensor, compute: Compute, what: String = "samples") throws -> Tensor {
        guard features.shape[1] == width else {
            throw MRPError(.argument, "features of \(features.shape[1]) numbers for clusters of \(width)")
        }
        let rows = features.shape[0]
        let (ids, u) = (try Tensor(TensorType([rows], .int32)), try whitened(features, compute, what: what))
        mk_nearest_clusters(
            compute.pool, Int64(rows), Int64(whitening.shape[1]), Int64(count), u.typed(Double.self).baseAddress,
            centres.float32.baseAddress, ids.int32.baseAddress)
        return withExtendedLifetime(u) { ids }
    }

    // MARK: Whitening

    /// Mean and whitening of features; centres are zero.
    private init(principal features: Tensor, _ compute: Compute, what: String, centres: Tensor) throws {
        let (rows, width, kept) = (features.shape[0], features.shape[1], centres.shape[1])
        let memory = try Memory(
            checkedProduct([width, width + 3]), elementBytes: 8, zeroed: true, for: "the covariance of \(width) features")
        defer { withExtendedLifetime(memory) {} }
        let all = memory.typed(Double.self)
        let (mean, values, scratch) = (all[..<width], all[width..<2 * width], all[2 * width..<3 * width])
        let covariance = UnsafeMutableBufferPointer(rebasing: all[(3 * width)...])
        func start(_ part: Slice<UnsafeMutableBufferPointer<Double>>) -> UnsafeMutablePointer<Double>? {
            UnsafeMutableBufferPointer(rebasing: part).baseAddress
        }
        let bad = mk_column_means(Int64(rows), Int64(width), features.float32.baseAddress, start(mean))
        guard bad < 0 else { throw Self.notFinite(Int(bad), what) }
        for first in stride(from: 0, to: rows, by: Self.chunk) {
            try Interruption.check()
            mk_add_covariance(
                compute.pool, Int64(min(Self.chunk, rows - first)), Int64(width), features.float32.baseAddress.map { $0 + first * width },
                start(mean), covariance.baseAddress)
        }
        var (variance, size) = (0.0, 0.0)
        for i in 0..<width {
            variance += covariance[i * width + i] / Double(rows)
            size += mean[i] * mean[i]
            for j in 0..<i { covariance[j * width + i] = covariance[i * width + j] }
        }
        // The mean of equal numbers differs from them by a rounding error of a double.
        guard variance > 1e-24 * size else { throw MRPError(.argument, "all \(rows) \(what) have the same features") }
        switch mk_symmetric_eigen(Int64(width), covariance.baseAddress, start(values), start(scratch)) {
        case 0: break
        case 2: throw Cancelled()
        default: throw MRPError(.numeric, "the covariance of \(width) features has no eigenvectors: their values are too large")
        }
        let (plainMean, whitening) = (try Tensor([width]), try Tensor([width, kept]))
        for i in 0..<width { plainMean.float32[i] = Float(all[i]) }
        let largest = all[width]
        for direction in 0..<kept where all[width + direction] > Self.leastVariance * largest {
            let factor = (Double(rows) / all[width + direction]).squareRoot()
            for i in 0..<width { whitening.float32[i * kept + direction] = Float(covariance[direction * width + i] * factor) }
        }
        try self.init(mean: plainMean, whitening: whitening, centres: centres)
    }

    /// Rows u of length 1, [N, q] doubles.
    private func whitened(_ features: Tensor, _ compute: Compute, what: String) throws -> Memory {
        let (rows, kept) = (features.shape[0], whitening.shape[1])
        let u = try Memory(checkedProduct([rows, kept]), elementBytes: 8, for: "the whitened features of \(rows) \(what)")
        for first in stride(from: 0, to: rows, by: Self.chunk) {
            try Interruption.check()
            let bad = mk_whitened_rows(
                compute.pool, Int64(min(Self.chunk, rows - first)), Int64(width), Int64(kept),
                features.float32.baseAddress.map { $0 + first * width }, mean.float32.baseAddress, whitening.float32.baseAddress,
                u.typed(Double.self).baseAddress.map { $0 + first * kept })
            guard bad < 0 else { throw Self.notFinite(first + Int(bad), what) }
        }
        return u
    }

    private static func notFinite(_ row: Int, _ what: String) -> MRPError {
        MRPError(.numeric, "the features of number \(row) of the \(what) are not finite")
    }

    // MARK: k-means

    /// Rounds of balanced assignment and new centres. `u`: whitened rows.
    private func turn(_ u: Memory, into ids: Tensor, seed: UInt64, _ compute: Compute) throws {
        let (rows, kept, clusters) = (ids.count, whitening.shape[1], count)
        let samples = u.typed(Double.self)
        var numbers = RandomIntegers(seed: seed, .clustering)
        func copy(_ row: Int, to cluster: Int) {
            for i in 0..<kept { centres.float32[cluster * kept + i] = Float(samples[row * kept + i]) }
        }
        let chosen = try numbers.choose(clusters, of: rows)
        for (cluster, row) in chosen.typed(Int64.self).enumerated() { copy(Int(row), to: cluster) }

        let blocks = Int(mk_balance_blocks(Int64(rows)))
        let purpose = "\(clusters) clusters of \(rows) samples"
        let weights = try Memory(checkedProduct([rows, clusters]), elementBytes: 8, for: purpose)
        let partial = try Memory(checkedProduct([blocks, clusters]), elementBytes: 8, for: purpose)
        let sums = try Memory(checkedProduct([clusters, kept + 2]), elementBytes: 8, for: purpose)
        defer { withExtendedLifetime((u, chosen, weights, partial, sums)) {} }
        let counts = sums.typed(Int64.self).baseAddress.map { $0 + clusters * (kept + 1) }
        let values = sums.typed(Double.self)
        var work = mk_balance()
        (work.rows, work.directions, work.clusters, work.rounds) = (Int64(rows), Int64(kept), Int64(clusters), Int64(Self.balancing))
        (work.epsilon, work.u, work.centres) = (
            Self.epsilon, UnsafePointer(samples.baseAddress), UnsafePointer(centres.float32.baseAddress)
        )
        (work.weights, work.partial) = (weights.typed(Double.self).baseAddress, partial.typed(Double.self).baseAddress)
        (work.factors, work.nearest) = (values.baseAddress.map { $0 + clusters * kept }, ids.int32.baseAddress)
        for _ in 0..<Self.rounds {
            try Interruption.check()
            mk_balanced_clusters(compute.pool, &work)
            mk_cluster_sums(
                Int64(rows), Int64(kept), Int64(clusters), samples.baseAddress, ids.int32.baseAddress, values.baseAddress, counts)
            for cluster in 0..<clusters {
                let sum = values[cluster * kept..<(cluster + 1) * kept]
                let length = sum.reduce(0) { $0 + $1 * $1 }.squareRoot()
                guard length > 0 else {
                    copy(numbers.below(rows), to: cluster)
                    continue
                }
                for i in 0..<kept { centres.float32[cluster * kept + i] = Float(sum[sum.startIndex + i] / length) }
            }
        }
    }
}
