/// Suggestions for misspelt names.
public enum Spelling {
    /// The candidate nearest to `word`; among equals the first in alphabetical order. nil when none is similar: more than a quarter of the
    /// word would have to change, or three places. Only the first 64 bytes count.
    public static func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let limit = min(max((word.utf8.prefix(64).count + 1) / 4, 1), 3)
        return candidates.map { (distance($0, word), $0) }.filter { $0.0 <= limit }.min { $0 < $1 }?.1
    }

    /// Insertions, deletions, replacements and exchanges of neighbours that turn one word into the other (Damerau 1964; optimal string
    /// alignment), by UTF-8 bytes.
    public static func distance(_ a: String, _ b: String) -> Int {
        let (a, b) = (Array(a.utf8.prefix(64)), Array(b.utf8.prefix(64)))
        var (beforeLast, last) = ([Int](), Array(0...b.count))
        for i in a.indices {
            var row = [i + 1]
            for j in b.indices {
                var least = min(last[j + 1] + 1, row[j] + 1, last[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, beforeLast[j - 1] + 1) }
                row.append(least)
            }
            (beforeLast, last) = (last, row)
        }
        return last[b.count]
    }
}
