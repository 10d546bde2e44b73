import MRPEngine
import Testing

@Suite struct SpellingTests {
    @Test(arguments: [
        ("", "", 0), ("tau", "tau", 0), ("tau", "", 3), ("tua", "tau", 1), ("thet", "theta", 1), ("kitten", "sitting", 3), ("é", "e", 2),
    ])
    func distances(a: String, b: String, expected: Int) {
        #expect(Spelling.distance(a, b) == expected)
        #expect(Spelling.distance(b, a) == expected)
    }

    @Test func theNearestIsFound() {
        #expect(Spelling.nearest(to: "tua", among: ["theta", "tau", "eta"]) == "tau")
        #expect(Spelling.nearest(to: "b", among: ["c", "a"]) == "a")
        #expect(Spelling.nearest(to: "x", among: [String]()) == nil)
        #expect(Spelling.nearest(to: String(repeating: "x", count: 100_000), among: ["y", String(repeating: "x", count: 64)])?.count == 64)
        for far in ["lr", "n_jobs", "class_weight", "verbosity", "foo"] {
            #expect(Spelling.nearest(to: far, among: ["layer", "names", "image_height", "epochs", "loss"]) == nil, "\(far)")
        }
    }
}
