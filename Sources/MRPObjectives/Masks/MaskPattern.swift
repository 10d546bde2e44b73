import MRPEngine
import MRPModels

/// Choice of the hidden patches of an image. Every image of a batch hides the same number, the count that the objective wants; a pattern says
/// which. Masks are functions of seed, step and place in the global batch alone.
public enum MaskPattern: String, CaseIterable, Sendable {
    /// Each patch alike (He et al. 2021).
    case random
    /// Rectangles (Bao et al. 2022, BEiT).
    case block
    /// A regular grid stays visible (He et al. 2021, section 4.1).
    case grid
    /// The union of a few target blocks (Assran et al. 2023, I-JEPA).
    case multiBlock = "multi_block"

    /// Masks of the images of a step that leave `visibleCount` patches of each visible.
    public func mask(_ geometry: PatchGeometry, visibleCount: Int, slice: BatchSlice, seed: UInt64, step: Int) throws -> PatchMask {
        let (height, width, count) = (geometry.gridHeight, geometry.gridWidth, geometry.count)
        let hiddenCount = count - visibleCount
        try PatchMask.checkMemory(batch: slice.count, count: count)
        func masks(
            _ substream: UniformNumbers.Substream, _ hidden: (inout UniformNumbers) -> [Bool]
        ) -> PatchMask {
            var order: [Int32] = []
            order.reserveCapacity(slice.count * count)
            for image in 0..<slice.count {
                var numbers = UniformNumbers(seed: seed, substream, step: step, place: slice.first + image)
                let isHidden = hidden(&numbers)
                order += (0..<count).filter { !isHidden[$0] }.map(Int32.init) + (0..<count).filter { isHidden[$0] }.map(Int32.init)
            }
            return PatchMask(order: order, batch: slice.count, count: count, visibleCount: visibleCount)
        }
        switch self {
        case .random: return try .random(slice, count: count, visibleCount: visibleCount, seed: seed, step: step)
        case .block: return masks(.blockMask) { BlockMask(height, width).hidden(hiddenCount, &$0) }
        case .grid: return masks(.gridMask) { GridMask(height, width).hidden(hiddenCount, &$0) }
        case .multiBlock:
            let blocks = try TargetBlocks(gridHeight: height, gridWidth: width)
            return masks(.multiBlockMask) { blocks.hidden(hiddenCount, &$0) }
        }
    }
}

/// Random numbers for one place of one step, one after the other.
struct UniformNumbers {
    /// Users of the stream `masking`, whose first substream belongs to random masks. The values are part of the reproducibility promise.
    enum Substream: UInt32 {
        case blockMask = 2
        case gridMask = 3
        case multiBlockMask = 4

        /// k-means of `PatchClusters`: at steps below 0, which no mask has.
        static let clusters = Substream.gridMask
    }

    private let stream: RandomStream
    private let step: Int
    private var next = 0
    private var first: Int
    private var values: [Float] = []

    /// Numbers that a place may draw without meeting those of the next.
    private static let perPlace = 1 << 24

    init(seed: UInt64, _ substream: Substream, step: Int, place: Int) {
        stream = RandomStream(seed: seed, .masking, substream: substream.rawValue)
        self.step = step
        first = place * Self.perPlace
    }

    /// In [0, 1).
    mutating func uniform() -> Double {
        if next == values.count {
            first += values.count
            next = 0
            values = [Float](repeating: 0, count: 64)
            values.withUnsafeMutableBufferPointer { stream.fillUniform($0, step: step, first: first) }
        }
        next += 1
        return Double(values[next - 1])
    }

    mutating func uniform(_ low: Double, _ high: Double) -> Double { low + (high - low) * uniform() }

    /// In 0 ..< limit.
    mutating func integer(below limit: Int) -> Int { min(Int(uniform() * Double(limit)), limit - 1) }

    /// The patches of a rectangle at a random place of a grid that it fits.
    mutating func rectangle(_ rows: Int, _ columns: Int, gridHeight: Int, gridWidth: Int) -> [Int] {
        let top = integer(below: gridHeight - rows + 1)
        let left = integer(below: gridWidth - columns + 1)
        return (top..<top + rows).flatMap { row in (left..<left + columns).map { row * gridWidth + $0 } }
    }

    /// The elements in random order.
    mutating func shuffled(_ elements: [Int]) -> [Int] {
        var result = elements
        result.shuffle { integer(below: $0) }
        return result
    }
}
