import CMRPKernels
import MRPEngine

/// A distribution of samples of P patches x_p = z_p v + noise, v a row of a dictionary of features: that of an experiment.
///
/// - multiview (Allen-Zhu & Li 2020, as arXiv 2206.03826 uses it): k classes have two features each, 2 k orthonormal vectors v_{i,l} in
///   R^d. A sample of class y holds v_{y,1}, v_{y,2} and every other feature with probability s / k; each takes C_p of the P patches:
///   x_p = z_p v + sum_v' alpha_{p,v'} v' + xi_p with alpha in [0, gamma] and xi ~ N(0, sigma_p^2 I). Multi-view samples show both views of y;
///   single-view samples (a share of mu) show one and hold the other only weakly. Feature j = 2 i + l counts classes and views from 0.
/// - hierarchical (arXiv 2410.23129): two classes with k_s subclasses each; orthonormal features: v_0, v_1 common to a class, then
///   feature 2 + class k_s + subclass. All samples show their subclass's feature in C_p patches; easy ones their class's in C_p more, hard
///   ones the other class's instead, weakly and in one patch.
/// - patch_routing (arXiv 2306.04073): unit patches. One is o_1 (class 0) or o_2 (class 1), <o_1, o_2> = delta_d; each other comes from one of
///   p sets, whose centres' coordinates along the span of the two are uniform in [-delta_r, delta_r]. Rows: o_1, o_2, the centres.
public final class PatchDistribution {
    /// Draw of the kind of a sample.
    public enum Kind: Int32, Sendable {
        case mixed = 0
        case multiView = 1
        case singleView = 2
        /// Names of the same kinds in the experiment with subclasses.
        public static let easy = multiView, hard = singleView

        /// The kinds of an experiment's samples by name.
        public static func names(_ experiment: LabOptions.ExperimentName) -> [(name: String, kind: Kind)] {
            switch experiment {
            case .multiview: [("mixed", .mixed), ("multi_view", .multiView), ("single_view", .singleView)]
            case .hierarchical: [("mixed", .mixed), ("easy", .easy), ("hard", .hard)]
            case .patchRouting: [("mixed", .mixed)]
            }
        }
    }

    public let options: LabOptions
    public let seed: Int
    /// features x d.
    public var features: UnsafeBufferPointer<Double> { UnsafeBufferPointer(featureMemory.typed(Double.self)) }
    public let featureCount: Int
    private let featureMemory: Memory

    /// Options are checked. Errors: `argument`, `memory`.
    public init(_ options: LabOptions, seed: Int) throws {
        try options.validate()
        self.options = options
        self.seed = seed
        switch options.experiment {
        case .multiview: featureCount = 2 * options.classes
        case .hierarchical: featureCount = 2 + 2 * options.subclasses
        case .patchRouting: featureCount = 2 + options.patternSets
        }
        featureMemory = try Memory(checkedProduct([featureCount, options.dimension]), elementBytes: 8, for: "the features")
        let scratch = try Memory(options.dimension + 4, elementBytes: 4, for: "the features")
        let orthonormal = options.experiment == .patchRouting ? 2 : featureCount
        let made = mk_orthonormal(
            Int64(orthonormal), Int64(options.dimension), UInt64(seed), LabStream.features.value,
            featureMemory.typed(Double.self).baseAddress, scratch.typed(Float.self).baseAddress)
        guard made == 0 else { throw MRPError(.internalError, "cannot orthonormalise \(orthonormal) features") }
        if options.experiment == .patchRouting {
            Patterns.fill(featureMemory.typed(Double.self), scratch.typed(Float.self), options, seed: seed)
        }
    }

    /// The class that a feature belongs to; -1 for the patterns that tell nothing.
    func owner(of feature: Int) -> Int {
        switch options.experiment {
        case .multiview: feature / 2
        case .hierarchical: feature < 2 ? feature : (feature - 2) / options.subclasses
        case .patchRouting: feature < 2 ? feature : -1
        }
    }

    func description(_ kind: Kind, _ stream: LabStream) -> mk_patch_data {
        var data = mk_patch_data()
        data.classes = Int64(options.classes)
        data.dimension = Int64(options.dimension)
        data.patches = Int64(options.patches)
        data.features = Int64(featureCount)
        data.patches_per_feature = Int64(options.patchesPerFeature)
        (data.main_low, data.main_high) = (options.mainLow, options.mainHigh)
        data.deviation = options.noise
        data.kind = kind.rawValue
        (data.seed, data.stream) = (UInt64(seed), stream.value)
        data.rows = UnsafePointer(featureMemory.typed(Double.self).baseAddress)
        switch options.experiment {
        case .multiview:
            data.law = Int32(MK_MULTI_VIEW)
            data.presence = options.presence / Double(options.classes)
            data.single_fraction = options.singleFraction
            (data.other_low, data.other_high) = (options.otherLow, options.otherHigh)
            (data.weak_low, data.weak_high) = (options.weakView, 2 * options.weakView)
            (data.single_other_low, data.single_other_high) = (options.singleOther / 2, options.singleOther)
            data.feature_noise = options.featureNoise
        case .hierarchical:
            data.law = Int32(MK_HIERARCHICAL)
            data.single_fraction = 0.5
            (data.other_low, data.other_high) = (options.distractorLow, options.distractorHigh)
        case .patchRouting:
            data.law = Int32(MK_PATTERNS)
            data.deviation = 2 * options.patternRadius / Double(options.dimension).squareRoot()
        }
        return data
    }
}

/// The dictionary of patch_routing: from two orthonormal rows e_1, e_2 to o_1 = e_1, o_2 = delta_d e_1 + sqrt(1 - delta_d^2) e_2, and centres
/// a_1 e_1 + a_2 e_2 + sqrt(1 - a_1^2 - a_2^2) u with a uniform in [-delta_r, delta_r] and a random unit vector u orthogonal to both.
private enum Patterns {
    static func fill(
        _ rows: UnsafeMutableBufferPointer<Double>, _ scratch: UnsafeMutableBufferPointer<Float>, _ options: LabOptions, seed: Int
    ) {
        let d = options.dimension
        for set in 0..<options.patternSets {
            mk_random_normal(UInt64(seed), LabStream.patterns.value, UInt32(set), 0, Int64(d), scratch.baseAddress)
            let row = (2 + set) * d
            for j in 0..<d { rows[row + j] = Double(scratch[j]) }
            for e in 0..<2 {
                let along = (0..<d).reduce(0.0) { $0 + rows[e * d + $1] * rows[row + $1] }
                for j in 0..<d { rows[row + j] -= along * rows[e * d + j] }
            }
            mk_random_uniform(UInt64(seed), LabStream.patternPlaces.value, UInt32(set), 0, 2, scratch.baseAddress)
            let a = (0..<2).map { options.deltaR * (2 * Double(scratch[$0]) - 1) }
            let norm = (0..<d).reduce(0.0) { $0 + rows[row + $1] * rows[row + $1] }.squareRoot()
            let rest = (1 - a[0] * a[0] - a[1] * a[1]).squareRoot() / norm
            for j in 0..<d { rows[row + j] = rest * rows[row + j] + a[0] * rows[j] + a[1] * rows[d + j] }
        }
        let other = (1 - options.deltaD * options.deltaD).squareRoot()
        for j in 0..<d { rows[d + j] = options.deltaD * rows[j] + other * rows[d + j] }
    }
}

/// Samples in memory, with where each patch came from: the distribution as an ordinary dataset.
public final class PatchSamples {
    public let count: Int
    public let patches: Int
    public let dimension: Int
    private let memory: [Memory]

    /// count x P x d.
    public var x: UnsafeBufferPointer<Float> { UnsafeBufferPointer(memory[0].typed(Float.self)) }
    /// count: the class, 0 ..< k.
    public var labels: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[1].typed(Int32.self)) }
    /// count: 1 single-view or hard, 0 multi-view or easy.
    public var isSingleView: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[2].typed(Int32.self)) }
    /// count: the view (0 or 1) that a single-view sample shows, -1 for multi-view; the subclass; the patch that tells the class.
    public var shownView: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[3].typed(Int32.self)) }
    /// count x P: the feature that a patch carries, or -1.
    public var origin: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory[4].typed(Int32.self)) }

    /// Samples `first` ..< `first` + `count` of an endless sequence that depends on the distribution's seed alone.
    /// Errors: `argument`, `memory`.
    public init(_ distribution: PatchDistribution, kind: PatchDistribution.Kind = .mixed, first: Int = 0, count: Int) throws {
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
        _ distribution: PatchDistribution, kind: PatchDistribution.Kind = .mixed, first: Int = 0, count: Int,
        x: UnsafeMutablePointer<Float>?, labels: UnsafeMutablePointer<Int32>?, isSingleView: UnsafeMutablePointer<Int32>?,
        shownView: UnsafeMutablePointer<Int32>?, origin: UnsafeMutablePointer<Int32>?
    ) throws {
        try check(first: first, count: count)
        var options = distribution.options
        options.precision = .float32
        let compute = try LabCompute(options)
        var description = distribution.description(kind, .ownData)
        try compute.reserve(mk_patch_data_scratch(&description))
        mk_patch_data_generate(
            compute.pool, 4, &description, Int64(first), nil, Int64(count), x, labels, isSingleView, shownView, origin)
    }

    /// Errors: `argument`, when there are no such samples.
    public static func check(first: Int, count: Int) throws {
        guard count >= 0, first >= 0, count <= Int(Int32.max), first <= Int(Int32.max) - count else {
            throw MRPError(.argument, "samples \(first) ..< \(first) + \(count) are outside 0 ... \(Int32.max)")
        }
    }
}
