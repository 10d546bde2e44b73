import MRPEngine

/// The blocks of I-JEPA (Assran et al. 2023, section 3): four target blocks, each of 15 to 20 % of the patches and an aspect ratio between
/// 0.75 and 1.5, and a context without them.
///
/// All blocks of a run have the same number of patches, because a graph has fixed shapes: the number between 15 and 20 % that has most
/// shapes within these ratios. On 8 x 8 patches that is 12, as 3 x 4 or 4 x 3.
public struct TargetBlocks: Equatable, Sendable {
    public static let count = 4

    let height: Int
    let width: Int
    /// Rows and columns that a block may have; all have the same product.
    public let shapes: [[Int]]
    /// Patches of a block.
    public var size: Int { shapes[0][0] * shapes[0][1] }

    private static let scale = (0.15, 0.2)
    private static let aspect = (0.75, 1.5)
    private static let contextScale = (0.85, 1.0)

    public init(gridHeight: Int, gridWidth: Int) throws {
        (height, width) = (gridHeight, gridWidth)
        let patches = Double(gridHeight * gridWidth)
        var best: [[Int]] = []
        for size in Int((Self.scale.0 * patches).rounded(.up))...max(Int((Self.scale.1 * patches).rounded(.up)), 1) {
            guard Double(size) <= Self.scale.1 * patches else { continue }
            let shapes = (1...gridHeight).filter { rows in
                let columns = size / rows
                guard rows * columns == size, columns <= gridWidth else { return false }
                return Double(rows) >= Self.aspect.0 * Double(columns) && Double(rows) <= Self.aspect.1 * Double(columns)
            }.map { [$0, size / $0] }
            if shapes.count >= max(best.count, 1) { best = shapes }
        }
        if best.isEmpty {  // a small grid: the square that comes nearest
            let side = max(Int((0.175 * patches).squareRoot().rounded()), 1)
            best = [[min(side, gridHeight), min(side, gridWidth)]]
        }
        shapes = best
        guard gridHeight * gridWidth >= Self.count * size + 1 else {
            throw MRPError(
                .argument, "a grid of \(gridHeight) x \(gridWidth) patches is too small for \(Self.count) blocks of \(size) and a context")
        }
    }

    /// Patches that are left for the context whatever the blocks are.
    public var sureContext: Int { height * width - Self.count * size }

    /// The patches of each target block; blocks may overlap.
    func blocks(_ numbers: inout UniformNumbers) -> [[Int]] {
        (0..<Self.count).map { _ in
            let shape = shapes[numbers.integer(below: shapes.count)]
            return numbers.rectangle(shape[0], shape[1], gridHeight: height, gridWidth: width)
        }
    }

    /// `count` patches outside of the targets: those inside a block of 85 to 100 % of the image first, at random among them.
    func context(_ count: Int, without targets: [[Int]], _ numbers: inout UniformNumbers) -> [Int] {
        let side = numbers.uniform(Self.contextScale.0, Self.contextScale.1).squareRoot()
        let rows = min(max(Int((side * Double(height)).rounded()), 1), height)
        let columns = min(max(Int((side * Double(width)).rounded()), 1), width)
        let inside = Set(numbers.rectangle(rows, columns, gridHeight: height, gridWidth: width))
        let hidden = Set(targets.joined())
        let free = numbers.shuffled((0..<height * width).filter { !hidden.contains($0) })
        return Array((free.filter(inside.contains) + free.filter { !inside.contains($0) }).prefix(count)).sorted()
    }

    /// As a mask for other objectives: patches of the blocks are hidden first, then others at random.
    func hidden(_ count: Int, _ numbers: inout UniformNumbers) -> [Bool] {
        let inBlocks = Set(blocks(&numbers).joined())
        let all = numbers.shuffled(Array(0..<height * width))
        var mask = [Bool](repeating: false, count: height * width)
        for patch in (all.filter(inBlocks.contains) + all.filter { !inBlocks.contains($0) }).prefix(count) { mask[patch] = true }
        return mask
    }
}
