import MRPEngine
import MRPModels

/// Which patches of each image of a batch are hidden, as the index lists that the graph reads.
///
/// Convention: in `mask`, 1 = hidden, 0 = visible. Every image of a batch hides the same number of patches.
public struct PatchMask {
    public static let visibleInput = "visible_patches"
    public static let positionsInput = "visible_positions"
    public static let restoreInput = "restore"
    public static let hiddenInput = "hidden_patches"
    /// Each patch's index, or -1 where it is hidden.
    public static let keptInput = "kept_patches"
    public static let hiddenRowsInput = "hidden_rows"

    /// Patches per image, L, and those the encoder sees, K.
    public let count: Int
    public let visibleCount: Int
    /// Per image the patch indices, visible ones first, each part in the order of the noise.
    public private(set) var order: [Int32]
    public let batch: Int

    public var hiddenCount: Int { count - visibleCount }

    /// K = int(L (1 - ratio)) in binary floating point, exactly as the reference implementation computes it.
    /// Throws when ratio is outside [0, 1), when no patch stays visible, or when none is hidden.
    public static func visibleCount(patches: Int, ratio: Double) throws -> Int {
        guard ratio >= 0, ratio < 1 else { throw MRPError(.argument, "mask_ratio \(ratio) is outside [0, 1)") }
        let visible = Int(Double(patches) * (1 - ratio))
        guard visible >= 1 else {
            throw MRPError(.argument, "mask_ratio \(ratio) leaves no visible patch of \(patches)")
        }
        guard visible < patches else {
            throw MRPError(.argument, "mask_ratio \(ratio) hides none of \(patches) patches")
        }
        return visible
    }

    /// K = L (1 - ratio), rounded to the nearest (a half to the even number) as SparK does; at least one is visible and one hidden.
    public static func roundedVisibleCount(cells: Int, ratio: Double) throws -> Int {
        guard ratio >= 0, ratio < 1 else { throw MRPError(.argument, "mask_ratio \(ratio) is outside [0, 1)") }
        let visible = Int((Double(cells) * (1 - ratio)).rounded(.toNearestOrEven))
        guard visible >= 1, visible < cells else {
            throw MRPError(
                .argument,
                "mask_ratio \(ratio) hides \(cells - visible) of \(cells) cells: at least one must stay visible and one be hidden")
        }
        return visible
    }

    /// The patches with the smallest noise stay visible (He et al. 2021). noise [batch, L].
    public init(noise: UnsafeBufferPointer<Float>, batch: Int, count: Int, visibleCount: Int) throws {
        try Self.checkMemory(batch: batch, count: count)
        self.batch = batch
        self.count = count
        self.visibleCount = visibleCount
        order = [Int32](repeating: 0, count: batch * count)
        for image in 0..<batch {
            let row = image * count
            // Ties (possible with 24-bit noise) are broken by the index, so the order is defined everywhere.
            let sorted = (0..<count).sorted { (noise[row + $0], $0) < (noise[row + $1], $1) }
            for (place, patch) in sorted.enumerated() { order[row + place] = Int32(patch) }
        }
    }

    /// Per image the patch indices, visible ones first.
    init(order: [Int32], batch: Int, count: Int, visibleCount: Int) {
        self.order = order
        self.batch = batch
        self.count = count
        self.visibleCount = visibleCount
    }

    /// A mask given by the caller: [batch, L], 1 = hidden, 0 = visible, the same number hidden in every image.
    public init(mask: UnsafeBufferPointer<UInt8>, batch: Int, count: Int) throws {
        try Self.checkMemory(batch: batch, count: count)
        self.batch = batch
        self.count = count
        order = []
        order.reserveCapacity(batch * count)
        var visibleCount = -1
        for image in 0..<batch {
            let row = mask[(image * count)..<((image + 1) * count)]
            if let bad = row.first(where: { $0 > 1 }) {
                throw MRPError(.argument, "mask of image \(image) holds \(bad), it must hold 0 (visible) or 1 (hidden)")
            }
            let visible = row.reduce(count) { $0 - Int($1) }
            guard visible >= 1, visible < count else {
                throw MRPError(
                    .argument,
                    "mask of image \(image) hides \(count - visible) of \(count) patches: at least one must stay visible and one be hidden")
            }
            if visibleCount < 0 { visibleCount = visible }
            guard visible == visibleCount else {
                throw MRPError(
                    .argument, "mask of image \(image) hides \(count - visible) patches, that of image 0 hides \(count - visibleCount)")
            }
            for value in [UInt8(0), 1] {
                for (patch, bit) in row.enumerated() where bit == value { order.append(Int32(patch)) }
            }
        }
        self.visibleCount = visibleCount
    }

    /// Errors: `.memory` where the orders of so many images are too large, or the lists from which one is made.
    static func checkMemory(batch: Int, count: Int) throws {
        try Memory.check(count, bytesEach: 4 * batch + 64, for: "the masks of \(batch) images of \(count) patches")
    }

    /// Random masks for the places of a slice.
    public static func random(_ slice: BatchSlice, count: Int, visibleCount: Int, seed: UInt64, step: Int) throws -> PatchMask {
        let noise = try Tensor([slice.count * count])
        RandomStream(seed: seed, .masking).fillUniform(noise.float32, step: step, from: slice.first * count)
        return try PatchMask(noise: UnsafeBufferPointer(noise.float32), batch: slice.count, count: count, visibleCount: visibleCount)
    }

    /// The caller's masks of a training step; nil when the caller stops the run. `rule` says what asks for `visibleCount`, as in
    /// "mask_ratio 0.75".
    static func given(
        _ masking: Masking, _ step: TrainingStep, count: Int, visibleCount: Int, rule: String
    ) throws -> PatchMask? {
        let noise = try Tensor([step.batch, count])
        guard masking(step.indices, noise.float32) else { return nil }
        if let bad = noise.float32.firstIndex(where: { $0.isNaN }) {
            throw MRPError(.argument, "the noise of image \(step.indices[bad / count]) is NaN at patch \(bad % count)")
        }
        if noise.float32.allSatisfy({ $0 == 0 || $0 == 1 }) {  // masks: then nothing may be left to the ties
            for image in 0..<step.batch {
                let hidden = noise.float32[image * count..<(image + 1) * count].count { $0 == 1 }
                guard hidden == count - visibleCount else {
                    throw MRPError(
                        .argument,
                        "the mask of image \(step.indices[image]) hides \(hidden) of \(count) patches, \(rule) hides \(count - visibleCount)"
                    )
                }
            }
        }
        return try PatchMask(noise: UnsafeBufferPointer(noise.float32), batch: step.batch, count: count, visibleCount: visibleCount)
    }

    /// Whether patch l of an image is hidden.
    public func hidden(image: Int) -> [Bool] {
        var result = [Bool](repeating: true, count: count)
        for place in 0..<visibleCount { result[Int(order[image * count + place])] = false }
        return result
    }

    /// Writes the index lists into those inputs that the program has.
    public func fill(_ program: any Program) throws {
        let (count, visible, hidden) = (count, visibleCount, hiddenCount)
        try write(program, Self.visibleInput) { list, image, place, patch in
            if place < visible { list[image * visible + place] = patch }
        }
        try write(program, Self.hiddenInput) { list, image, place, patch in
            if place >= visible { list[image * hidden + place - visible] = patch }
        }
        try write(program, Self.keptInput) { list, image, place, patch in
            list[image * count + Int(patch)] = place < visible ? patch : -1
        }
        // Rows of tokens: the class token comes first.
        try write(program, Self.hiddenRowsInput) { list, image, place, patch in
            if place >= visible { list[image * hidden + place - visible] = patch + 1 }
        }
        try write(program, Self.positionsInput) { list, image, place, patch in
            if place == 0 { list[image * (visible + 1)] = 0 }
            if place < visible { list[image * (visible + 1) + 1 + place] = patch + 1 }
        }
        try write(program, Self.restoreInput) { list, image, place, patch in
            if place == 0 { list[image * (count + 1)] = 0 }
            list[image * (count + 1) + 1 + Int(patch)] = place < visible ? Int32(place) + 1 : -1
        }
    }

    private func write(
        _ program: any Program, _ name: String,
        _ body: (_ list: UnsafeMutableBufferPointer<Int32>, _ image: Int, _ place: Int, _ patch: Int32) -> Void
    ) throws {
        try program.withInput(name, as: Int32.self) { list in
            for image in 0..<batch {
                for place in 0..<count { body(list, image, place, order[image * count + place]) }
            }
        }
    }
}
