import CMRPKernels
import MRPEngine

/// The multi-view distribution of Allen-Zhu & Li (2020), as the paper uses it (arXiv 2206.03826, section on the data).
///
/// k classes have two features each, 2 k orthonormal vectors v_{i,l} in R^d. A sample of class y holds v_{y,1}, v_{y,2} and every
/// other feature with probability s / k; each takes C_p of the P patches: x_p = z_p v + sum_v' alpha_{p,v'} v' + xi_p with
/// alpha in [0, gamma] and xi ~ N(0, sigma_p^2 I). Multi-view samples show both views of y; single-view samples (a share of mu)
/// show one and hold the other only weakly. Feature j = 2 i + l counts classes and views from 0.
public final class MultiViewDistribution {
    /// Draw of the kind of a sample.
    public enum Kind: Int32, Sendable { case mixed = 0, multiView = 1, singleView = 2 }

    public let options: LabOptions
    public let seed: Int
    /// 2 k x d, orthonormal rows.
    public var features: UnsafeBufferPointer<Double> { UnsafeBufferPointer(featureMemory.typed(Double.self)) }
    private let featureMemory: Memory

    public var featureCount: Int { 2 * options.classes }

    /// Options are checked. Errors: `argument`, `memory`.
    public init(_ options: LabOptions, seed: Int) throws {
        try options.validate()
        self.options = options
        self.seed = seed
        featureMemory = try Memory(2 * options.classes * options.dimension, elementBytes: 8, for: "the features")
        let scratch = try Memory(options.dimension + 4, elementBytes: 4, for: "the features")
        let made = mk_orthonormal(
            Int64(2 * options.classes), Int64(options.dimension), UInt64(seed), LabStream.features.value,
            featureMemory.typed(Double.self).baseAddress, scratch.typed(Float.self).baseAddress)
        guard made == 0 else { throw MRPError(.internalError, "cannot orthonormalise \(2 * options.classes) features") }
    }

    func description(_ kind: Kind, _ stream: LabStream) -> mk_multi_view {
        mk_multi_view(
            classes: Int64(options.classes), dimension: Int64(options.dimension), patches: Int64(options.patches),
            patches_per_feature: Int64(options.patchesPerFeature), presence: options.presence / Double(options.classes),
            single_fraction: options.singleFraction, main_low: options.mainLow, main_high: options.mainHigh,
            other_low: options.otherLow, other_high: options.otherHigh, weak_low: options.weakView,
            weak_high: 2 * options.weakView, single_other_low: options.singleOther / 2, single_other_high: options.singleOther,
            feature_noise: options.featureNoise, deviation: options.noise, kind: kind.rawValue, seed: UInt64(seed),
            stream: stream.value, features: UnsafePointer(featureMemory.typed(Double.self).baseAddress))
    }
}

/// Samples in memory, with where each patch came from: the distribution as an ordinary dataset.
public final class MultiViewSamples {
    public let count: Int
    public let patches: Int
    public let dimension: Int
    private let memory: [Memory]

    /// count x P x d.
    public var x: UnsafeBufferPointer<Float> { UnsafeBufferPointer(memory[0].typed(Float.self)) }
    /// count: the class, 0 ..< k.
    public var labels: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[1].typed(Int32.self)) }
    /// count: 1 single-view, 0 multi-view.
    public var isSingleView: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[2].typed(Int32.self)) }
    /// count: the view (0 or 1) that a single-view sample shows, -1 for multi-view.
    public var shownView: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[3].typed(Int32.self)) }
    /// count x P: the feature 2 class + view that a patch carries, or -1.
    public var origin: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[4].typed(Int32.self)) }

    /// Samples `first` ..< `first` + `count` of an endless sequence that depends on the distribution's seed alone.
    /// Errors: `argument`, `memory`.
    public init(_ distribution: MultiViewDistribution, kind: MultiViewDistribution.Kind = .mixed, first: Int = 0, count: Int) throws {
        let options = distribution.options
        try Self.check(first: first, count: count)
        self.count = count
        patches = options.patches
        dimension = options.dimension
        let each = try checkedProduct([count, patches, dimension], bytesEach: 4)
        memory = try [
            Memory(each, elementBytes: 4, for: "\(count) samples"), Memory(count, elementBytes: 4, for: "labels"),
            Memory(count, elementBytes: 4, for: "view kinds"), Memory(count, elementBytes: 4, for: "shown views"),
            Memory(count * patches, elementBytes: 4, for: "origins"),
        ]
        let pointers = memory.dropFirst().map { $0.typed(Int32.self).baseAddress }
        try Self.write(
            distribution, kind: kind, first: first, count: count, x: memory[0].typed(Float.self).baseAddress, labels: pointers[0],
            isSingleView: pointers[1], shownView: pointers[2], origin: pointers[3])
    }

    /// Writes the same samples into arrays that have the sizes of the properties; nil where they are not wanted.
    /// Errors: `argument`, `memory`.
    public static func write(
        _ distribution: MultiViewDistribution, kind: MultiViewDistribution.Kind = .mixed, first: Int = 0, count: Int,
        x: UnsafeMutablePointer<Float>?, labels: UnsafeMutablePointer<Int32>?, isSingleView: UnsafeMutablePointer<Int32>?,
        shownView: UnsafeMutablePointer<Int32>?, origin: UnsafeMutablePointer<Int32>?
    ) throws {
        try check(first: first, count: count)
        var options = distribution.options
        options.precision = .float32
        let compute = try LabCompute(options)
        var description = distribution.description(kind, .ownData)
        try compute.reserve(mk_multi_view_scratch(&description))
        mk_multi_view_generate(
            compute.pool, 4, &description, Int64(first), nil, Int64(count), x, labels, isSingleView, shownView, origin)
    }

    /// Errors: `argument`, when there are no such samples.
    public static func check(first: Int, count: Int) throws {
        guard count >= 0, first >= 0, count <= Int(Int32.max), first <= Int(Int32.max) - count else {
            throw MRPError(.argument, "samples \(first) ..< \(first) + \(count) are outside 0 ... \(Int32.max)")
        }
    }
}
