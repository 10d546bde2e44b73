import MRPEngine
import MRPModels

/// How the hidden patches of an image are chosen. Every image of a batch hides the same number, the count that the objective wants;
/// a pattern says which. Masks are functions of seed, step and place in the batch alone.
public enum MaskPattern: String, CaseIterable, Sendable {
    /// Each patch alike (He et al. 2021).
    case random
    /// Rectangles (Bao et al. 2022, BEiT).
    case block
    /// A regular grid stays visible (He et al. 2021, section 4.1).
    case grid
    /// The union of a few target blocks (Assran et al. 2023, I-JEPA).
    case multiBlock = "multi_block"

    /// The masks of a step's images that leave `visibleCount` patches visible.
    public func mask(_ geometry: PatchGeometry, visibleCount: Int, batch: Int, seed: UInt64, step: Int) throws -> PatchMask {
        let count = geometry.count
        guard self != .random else {
            return try PatchMask.random(batch: batch, count: count, visibleCount: visibleCount, seed: seed, step: step)
        }
        var order: [Int32] = []
        order.reserveCapacity(batch * count)
        for image in 0..<batch {
            var numbers = UniformNumbers(seed: seed, pattern: self, step: step, image: image)
            let isHidden = try hidden(geometry, count: count - visibleCount, &numbers)
            order += (0..<count).filter { !isHidden[$0] }.map(Int32.init) + (0..<count).filter { isHidden[$0] }.map(Int32.init)
        }
        return PatchMask(order: order, batch: batch, count: count, visibleCount: visibleCount)
    }

    private func hidden(_ geometry: PatchGeometry, count: Int, _ numbers: inout UniformNumbers) throws -> [Bool] {
        let (height, width) = (geometry.gridHeight, geometry.gridWidth)
        switch self {
        case .random, .block: return BlockMask(height, width).hidden(count, &numbers)
        case .grid: return GridMask(height, width).hidden(count, &numbers)
        case .multiBlock: return try TargetBlocks(gridHeight: height, gridWidth: width).hidden(count, &numbers)
        }
    }
}

/// Random numbers for one image of one step, one after the other.
struct UniformNumbers {
    private let stream: RandomStream
    private let step: Int
    private var next = 0
    private var first: Int
    private var values: [Float] = []

    /// Numbers that an image may draw without meeting those of the next.
    private static let perImage = 1 << 24

    init(seed: UInt64, pattern: MaskPattern, step: Int, image: Int) {
        stream = RandomStream(
            seed: seed, .masking, substream: UInt32(1 + (MaskPattern.allCases.firstIndex(of: pattern) ?? 0)))
        self.step = step
        first = image * Self.perImage
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
