import CMRPKernels

/// Random integers one after the other, 64 random bits each: a function of (seed, purpose, step).
public struct RandomIntegers {
    private let stream: RandomStream
    private let step: UInt32
    private var next: UInt64 = 0

    public init(seed: UInt64, _ purpose: RandomStream.Purpose, step: Int = 0) {
        stream = RandomStream(seed: seed, purpose)
        self.step = UInt32(truncatingIfNeeded: step)
    }

    /// In 0 ..< limit; limit at least 1.
    public mutating func below(_ limit: Int) -> Int {
        var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
        withUnsafeMutableBytes(of: &words) {
            mk_philox(stream.seed, stream.stream, step, next, $0.baseAddress?.assumingMemoryBound(to: UInt32.self))
        }
        next &+= 1
        let bits = UInt64(words.1) << 32 | UInt64(words.0)
        return Int(truncatingIfNeeded: bits.multipliedFullWidth(by: UInt64(limit)).high)
    }

    /// `count` different numbers of 0 ..< limit in random order, Int64; count at most limit. Errors: `.memory`.
    public mutating func choose(_ count: Int, of limit: Int) throws -> Memory {
        let memory = try Memory(limit, elementBytes: 8, for: "the order of \(limit) numbers")
        let order = memory.typed(Int64.self)
        for i in 0..<limit { order[i] = Int64(i) }
        for i in 0..<count { order.swapAt(i, i + below(limit - i)) }
        let chosen = try Memory(count, elementBytes: 8, for: "\(count) of \(limit) numbers")
        _ = chosen.typed(Int64.self).initialize(from: order[..<count])
        return chosen
    }
}
