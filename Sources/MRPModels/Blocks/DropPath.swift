import MRPEngine

/// Stochastic depth (Huang et al. 2016; timm's drop_path): in training each branch of a residual block is left out for some images, and
/// scaled up for the others so that its mean stays. The rate grows linearly over the blocks, from 0 to the network's.
public struct DropPath: Equatable, Sendable {
    /// Of the last block.
    public let rate: Double
    public let blocks: Int

    public init(rate: Double, blocks: Int) {
        self.rate = rate
        self.blocks = blocks
    }

    public func rate(block: Int) -> Double { blocks > 1 ? rate * Double(block) / Double(blocks - 1) : rate }

    /// The graph's input for a branch: one factor per image.
    static func input(block: Int, branch: Int) -> String { "drop_path.\(block).\(branch)" }

    /// Draws the factors of a step, for every branch that the graph has; the batch may hold several views of the slice, one after the other.
    public func fill(_ program: any Program, slice: BatchSlice, seed: UInt64, step: Int) throws {
        for block in 0..<blocks {
            for branch in 0..<2 {
                let kept = 1 - rate(block: block)
                try program.withInput(Self.input(block: block, branch: branch), as: Float.self) { factors in
                    for (view, first) in stride(from: 0, to: factors.count, by: max(slice.count, 1)).enumerated() {
                        let part = UnsafeMutableBufferPointer(rebasing: factors[first..<min(first + slice.count, factors.count)])
                        RandomStream(seed: seed, .dropPath, substream: UInt32(view << 16 | 2 * block + branch))
                            .fillUniform(part, step: step, from: slice.first)
                    }
                    for image in factors.indices { factors[image] = factors[image] < Float(kept) ? Float(1 / kept) : 0 }
                }
            }
        }
    }
}
