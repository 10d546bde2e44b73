import CMRPKernels
import MRPEngine

/// The order of `count` things in round `round`: 0 ..< count shuffled by Fisher and Yates with 64 random bits per draw, a function of
/// (seed, purpose, round) alone.
func shuffle(_ order: UnsafeMutableBufferPointer<Int64>, seed: UInt64, purpose: RandomStream.Purpose, round: Int, substream: UInt32 = 0) {
    for i in order.indices { order[i] = Int64(i) }
    let stream = purpose.rawValue | substream << 8
    var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    var i = order.count - 1
    while i > 0 {
        withUnsafeMutableBytes(of: &words) {
            mk_philox(
                seed, stream, UInt32(truncatingIfNeeded: round), UInt64(i), $0.baseAddress?.assumingMemoryBound(to: UInt32.self))
        }
        order.swapAt(i, Int((UInt64(words.0) << 32 | UInt64(words.1)).multipliedFullWidth(by: UInt64(i + 1)).high))
        i -= 1
        if i > 0 {
            order.swapAt(i, Int((UInt64(words.2) << 32 | UInt64(words.3)).multipliedFullWidth(by: UInt64(i + 1)).high))
            i -= 1
        }
    }
}
