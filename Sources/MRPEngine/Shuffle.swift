extension MutableCollection where Self: RandomAccessCollection {
    /// Every order alike (Fisher and Yates), from the last place down. `below(n)` is a random integer in 0 ..< n; it is asked for
    /// n = count, count - 1, ... 2.
    @inlinable
    public mutating func shuffle(below: (Int) -> Int) {
        for n in stride(from: count, to: 1, by: -1) {
            swapAt(index(startIndex, offsetBy: n - 1), index(startIndex, offsetBy: below(n)))
        }
    }
}
