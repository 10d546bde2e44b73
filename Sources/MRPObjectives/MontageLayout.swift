import MRPEngine
import MRPModels

/// Which images the tiles of a batch's montages show. Level i has montages of 2^i x 2^i tiles; each image is in one tile of it, at level 3 in two
/// (Guo et al. 2023: as many montages as 1/4, 1/16, 1/32 of the images).
struct MontageLayout {
    let levels: Int
    let batch: Int

    static let mostLevels = 4

    /// Errors: `.argument` where the images do not fill the montages.
    init(levels: Int, batch: Int) throws {
        let multiple = 1 << (2 * (levels - 1))
        guard batch >= multiple, batch % multiple == 0 else {
            throw MRPError(
                .argument,
                "montages of \(levels) levels need a batch_size (on each device) that is a multiple of 4^(montage_levels - 1) = \(multiple), \(batch) is none"
            )
        }
        (self.levels, self.batch) = (levels, batch)
    }

    func montages(_ level: Int) -> Int { level < 3 ? batch >> (2 * level) : batch / 32 }
    func tiles(_ level: Int) -> Int { montages(level) << (2 * level) }

    /// The image of each tile of a level, in a random order that depends on seed, step and the images' places in the global batch alone.
    /// `draw` tells independent orders of a step apart.
    func images(_ level: Int, draw: UInt32, _ step: TrainingStep) -> [Int32] {
        let (count, copies) = (tiles(level), tiles(level) / batch)
        var noise = [Float](repeating: 0, count: count)
        noise.withUnsafeMutableBufferPointer {
            RandomStream(seed: step.seed, .montage, substream: draw << 2 | UInt32(level))
                .fillUniform($0, step: step.step, from: step.slice.first * copies)
        }
        return (0..<count).sorted { (noise[$0], $0) < (noise[$1], $1) }.map { Int32($0 / copies) }
    }
}
