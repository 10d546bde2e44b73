extension UnsafeBufferPointer where Element: Comparable {
    /// The class that scores say: that of the largest, of equal ones the first; 0 of none.
    var largestPlace: Int {
        var best = 0
        for place in indices.dropFirst() where self[place] > self[best] { best = place }
        return best
    }
}
