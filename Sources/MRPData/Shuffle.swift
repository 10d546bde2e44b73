import CMRPKernels
import MRPEngine

/// Writes 0 ..< count in a random order, with 64 random bits per draw: a function of (seed, purpose, round) alone.
func writeShuffled(_ order: UnsafeMutableBufferPointer<Int64>, seed: UInt64, purpose: RandomStream.Purpose, round: Int) {
    var order = order
    for i in order.indices { order[i] = Int64(i) }
    var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    var isHalfUsed = false
    order.shuffle { count in
        defer { isHalfUsed.toggle() }
        if !isHalfUsed {
            withUnsafeMutableBytes(of: &words) {
                mk_philox(
                    seed, purpose.rawValue, UInt32(truncatingIfNeeded: round), UInt64(count - 1),
                    $0.baseAddress?.assumingMemoryBound(to: UInt32.self))
            }
        }
        let (high, low) = isHalfUsed ? (words.2, words.3) : (words.0, words.1)
        return Int((UInt64(high) << 32 | UInt64(low)).multipliedFullWidth(by: UInt64(count)).high)
    }
}
