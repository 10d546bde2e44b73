import Glibc

/// Blockwise masking of BEiT (Bao et al. 2022, algorithm 1): rectangles of a random area and an aspect ratio between 0.3 and 1 / 0.3 are
/// hidden until the count is reached. What no rectangle fits any more is filled with single patches, so that the count is exact.
struct BlockMask {
    private let height: Int
    private let width: Int

    private static let aspect = 0.3
    /// The smallest block has 16 of 196 patches.
    private static let smallestShare = 16.0 / 196
    private static let attempts = 10

    init(_ gridHeight: Int, _ gridWidth: Int) { (height, width) = (gridHeight, gridWidth) }

    func hidden(_ count: Int, _ numbers: inout UniformNumbers) -> [Bool] {
        var mask = [Bool](repeating: false, count: height * width)
        var remaining = count
        let smallest = Self.smallestShare * Double(height * width)
        while remaining > 0 {
            guard let block = self.block(smallest: smallest, remaining: remaining, mask, &numbers) else { break }
            for patch in block where !mask[patch] {
                mask[patch] = true
                remaining -= 1
            }
        }
        for patch in numbers.shuffled((0..<height * width).filter { !mask[$0] }).prefix(remaining) { mask[patch] = true }
        return mask
    }

    /// The patches of a block that hides at least one more and at most `remaining`; nil when ten attempts find none.
    private func block(smallest: Double, remaining: Int, _ mask: [Bool], _ numbers: inout UniformNumbers) -> [Int]? {
        for _ in 0..<Self.attempts {
            let area = numbers.uniform(min(smallest, Double(remaining)), Double(remaining))
            let aspect = exp(numbers.uniform(log(Self.aspect), -log(Self.aspect)))
            let rows = Int((area * aspect).squareRoot().rounded())
            let columns = Int((area / aspect).squareRoot().rounded())
            guard rows >= 1, columns >= 1, rows <= height, columns <= width else { continue }
            let patches = numbers.rectangle(rows, columns, gridHeight: height, gridWidth: width)
            let added = patches.count { !mask[$0] }
            if added > 0, added <= remaining { return patches }
        }
        return nil
    }
}
