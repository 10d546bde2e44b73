/// Grid-wise masking (He et al. 2021, section 4.1): of each square of 2 x 2 patches the same one stays visible, chosen at random for each
/// image. For counts other than three quarters, patches at the other three places follow place by place.
struct GridMask {
    private let height: Int
    private let width: Int

    init(_ gridHeight: Int, _ gridWidth: Int) { (height, width) = (gridHeight, gridWidth) }

    func hidden(_ count: Int, _ numbers: inout UniformNumbers) -> [Bool] {
        var visible: [Int] = []
        for place in numbers.shuffled([0, 1, 2, 3]) {
            let patches = (0..<height * width).filter { $0 / width % 2 * 2 + $0 % width % 2 == place }
            visible += numbers.shuffled(patches)
        }
        var mask = [Bool](repeating: true, count: height * width)
        for patch in visible.prefix(height * width - count) { mask[patch] = false }
        return mask
    }
}
