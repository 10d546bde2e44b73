import MRPEngine

/// Some images of another dataset, in a given order.
public final class SubsetDataset: ImageDataset {
    public let base: ImageDataset
    public let count: Int
    public var channels: Int { base.channels }
    public var imageSize: ImageSize? { base.imageSize }
    public var classNames: [String] { base.classNames }
    public var hasClassNames: Bool { base.hasClassNames }
    public var labelType: String { base.labelType }
    public var labels: UnsafeBufferPointer<Int32>? { labelMemory.map { UnsafeBufferPointer($0.typed(Int32.self)) } }
    /// The images' numbers in `base`.
    public var indices: UnsafeBufferPointer<Int64> { UnsafeBufferPointer(indexMemory.typed(Int64.self)) }

    private let indexMemory: Memory
    private let labelMemory: Memory?

    /// Copies `indices`; an index may appear more than once. Errors: `.argument` for an index out of range or none at all, `.memory`.
    public init(_ base: ImageDataset, indices: UnsafeBufferPointer<Int64>) throws {
        guard !indices.isEmpty else { throw MRPError(.argument, "the subset is empty") }
        for (i, index) in indices.enumerated() where index < 0 || index >= base.count {
            throw MRPError(.argument, "index \(index) at position \(i) is outside 0 ..< \(base.count)")
        }
        self.base = base
        count = indices.count
        indexMemory = try Memory(bytes: count * 8, for: "\(count) indices")
        _ = indexMemory.typed(Int64.self).initialize(from: indices)
        if let all = base.labels {
            let memory = try Memory(bytes: count * 4, for: "\(count) labels")
            let labels = memory.typed(Int32.self)
            for i in 0..<count { labels[i] = all[Int(indices[i])] }
            labelMemory = memory
        } else {
            labelMemory = nil
        }
    }

    public convenience init(_ base: ImageDataset, indices: [Int]) throws {
        try self.init(base, indices: indices.map(Int64.init))
    }

    public convenience init(_ base: ImageDataset, indices: [Int64]) throws {
        let memory = try Memory(bytes: indices.count * 8, for: "\(indices.count) indices")
        _ = memory.typed(Int64.self).initialize(from: indices)
        try self.init(base, indices: UnsafeBufferPointer(memory.typed(Int64.self)))
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        try base.load(Int(indices[index]), into: workspace)
    }

    public var maskKind: MaskKind? { base.maskKind }

    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws {
        try base.loadTarget(Int(indices[index]), into: workspace)
    }

    public var ignoredId: Int32 { base.ignoredId }

    public func size(of index: Int) throws -> ImageSize { try base.size(of: Int(indices[index])) }

    public func name(of index: Int) -> String { base.name(of: Int(indices[index])) }
    public func path(of index: Int) -> FilePath? { base.path(of: Int(indices[index])) }
    public var pixelType: PixelType? { base.pixelType }
    public var usualSize: ImageSize? { base.usualSize }
    public var isPointCloud: Bool { base.isPointCloud }
    public func fileName(of index: Int) -> String? { base.fileName(of: Int(indices[index])) }
}

extension SubsetDataset {
    /// `count` images chosen by the seed, each class in proportion to its size (largest remainders first) and with one image at least, in
    /// rising order. Without labels all images are one class. Errors: `.argument` when count is out of range.
    public static func stratified(_ base: ImageDataset, count: Int, seed: UInt64) throws -> SubsetDataset {
        try split(base, count: count, seed: seed, wantRest: false).chosen
    }

    /// The stratified subset, and all other images as a second one.
    public static func split(_ base: ImageDataset, count: Int, seed: UInt64) throws -> (chosen: SubsetDataset, rest: SubsetDataset) {
        let parts = try split(base, count: count, seed: seed, wantRest: true)
        guard let rest = parts.rest else { throw MRPError(.argument, "split count \(count) is outside 1 ..< \(base.count)") }
        return (parts.chosen, rest)
    }

    /// So many images of each class, chosen by the seed, in rising order: with smaller counts some of those that larger ones choose. Errors:
    /// `.argument` when the dataset has no labels, other classes, or fewer images of one.
    public static func selected(_ base: ImageDataset, counts: [Int], seed: UInt64) throws -> SubsetDataset {
        guard base.labels != nil else { throw MRPError(.argument, "images are selected by their classes: the dataset has no labels") }
        guard counts.count == base.classCount else {
            throw MRPError(.argument, "counts of \(counts.count) classes were given, the dataset has \(base.classCount)")
        }
        try Memory.check(base.classCount, bytesEach: 64, for: "the images of \(base.classCount) classes")
        let sizes = base.classSizes
        for (label, wanted) in counts.enumerated() where wanted < 0 || wanted > sizes[label] {
            throw MRPError(
                .argument, "\(wanted) images of class '\(base.classNames[label])' are wanted, there are \(sizes[label])")
        }
        guard counts.contains(where: { $0 > 0 }) else { throw MRPError(.argument, "no image of any class is wanted") }
        return try choose(base, quota: counts, seed: seed, wantRest: false).chosen
    }

    private static func split(
        _ base: ImageDataset, count: Int, seed: UInt64, wantRest: Bool
    ) throws -> (chosen: SubsetDataset, rest: SubsetDataset?) {
        let limit = wantRest ? base.count - 1 : base.count
        guard count >= 1, count <= limit else { throw MRPError(.argument, "subset count \(count) is outside 1 ... \(limit)") }
        try Memory.check(base.classCount, bytesEach: 64, for: "the images of \(base.classCount) classes")
        return try choose(base, quota: quotas(base, count: count), seed: seed, wantRest: wantRest)
    }

    private static func choose(
        _ base: ImageDataset, quota: [Int], seed: UInt64, wantRest: Bool
    ) throws -> (chosen: SubsetDataset, rest: SubsetDataset?) {
        let (total, count) = (base.count, quota.reduce(0, +))
        let order = try Memory(bytes: total * 8, for: "\(total) indices")
        let taken = try Memory(bytes: total, for: "\(total) marks")
        let shuffled = order.typed(Int64.self), mark = taken.typed(UInt8.self)
        mark.initialize(repeating: 0)
        writeShuffled(shuffled, seed: seed, purpose: .subset, round: 0)
        var left = quota
        for index in shuffled {
            let label = Int(base.labels?[Int(index)] ?? 0)
            if left[label] > 0 {
                left[label] -= 1
                mark[Int(index)] = 1
            }
        }
        func collect(_ value: UInt8, _ size: Int) throws -> SubsetDataset {
            let memory = try Memory(bytes: size * 8, for: "\(size) indices")
            let indices = memory.typed(Int64.self)
            var next = 0
            for i in 0..<total where mark[i] == value && next < size {
                indices[next] = Int64(i)
                next += 1
            }
            return try SubsetDataset(base, indices: UnsafeBufferPointer(indices))
        }
        return (try collect(1, count), wantRest ? try collect(0, total - count) : nil)
    }

    /// Gives each class that has images one at least, taken from the class that has most, as long as there is one with two.
    private static func keepClasses(_ quota: inout [Int], _ sizes: [Int]) {
        for c in sizes.indices where sizes[c] > 0 && quota[c] == 0 {
            guard let richest = quota.indices.max(by: { (quota[$0], -$0) < (quota[$1], -$1) }), quota[richest] > 1 else { return }
            quota[richest] -= 1
            quota[c] = 1
        }
    }

    /// The classes of `base` that have images there and none here.
    public var lostClasses: [String] {
        guard let labels, let all = base.labels else { return [] }
        var (here, there) = (Set<Int32>(), Set<Int32>())
        for label in labels { here.insert(label) }
        for label in all { there.insert(label) }
        return there.subtracting(here).sorted().map { classNames[Int($0)] }
    }

    /// Number of images of each class; they add up to `count`.
    private static func quotas(_ base: ImageDataset, count: Int) -> [Int] {
        guard base.labels != nil else { return [count] }
        let sizes = base.classSizes
        var quota = sizes.map { Int(Int64($0).multipliedFullWidth(by: Int64(count)).low / UInt64(base.count)) }
        let remainders = sizes.map { Int(Int64($0).multipliedFullWidth(by: Int64(count)).low % UInt64(base.count)) }
        let byRemainder = sizes.indices.sorted { (remainders[$0], -$0) > (remainders[$1], -$1) }
        for c in byRemainder.prefix(count - quota.reduce(0, +)) { quota[c] += 1 }
        keepClasses(&quota, sizes)
        return quota
    }
}
