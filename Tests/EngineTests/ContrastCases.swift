import MRPEngine
import Testing

/// Unit rows, class means and contrast scores; see PrimitiveCases.swift.
extension PrimitiveCase {
    static let contrast: [PrimitiveCase] =
        [(16, false), (33, true), (64, false), (64, true)].map { (width: Int, unbiased: Bool) in
            PrimitiveCase(name: "contrast \(width) \(unbiased)") { g in
                let z = try g.graph.apply(UnitRows(), [g.real("z", [4, width])])
                let scale = 0.7 / Double(width).squareRoot()
                let means = try g.real("means", [5, width], differentiated: false) { $0 * scale }
                // A class without images, one with too few for an unbiased estimate, others.
                let seen = try counts(g, "counts", [0, 2, 8, 40, 6]), images = try counts(g, "images", [3, 9, 9, 9, 2])
                let scores = try g.graph.apply(
                    ContrastScores(temperature: 0.2, unbiased: unbiased, views: 2), [z[0], means, seen, images])
                return scores + z
            }
        } + [
            PrimitiveCase(name: "class means", differentiated: false) { g in
                let x = try g.real("x", [5, 3]), labels = try g.indices("labels", [2, 0, 2, 2, 0], [5])
                return try g.graph.apply(ClassMeans(), [x, labels, g.real("means", [4, 3]), counts(g, "counts", [0, 7, 2, 1])])
            }
        ]

    private static func counts(_ g: CaseGraph, _ name: String, _ numbers: [Double]) throws -> Value {
        var next = numbers.makeIterator()
        return try g.real(name, [numbers.count], differentiated: false) { _ in next.next() ?? 0 }
    }
}

/// The gradient of contrast scores against central differences.
@Suite struct ContrastTests {
    @Test(arguments: [16, 64]) func gradient(_ width: Int) throws {
        try GradientTests().check(
            ["z": [3, width], "means": [4, width], "counts": [4], "images": [4]], constants: ["means", "counts", "images"]
        ) { graph, values in
            let z = try graph.apply(UnitRows(), [values["z"]])[0]
            let means = try graph.apply(Scale(0.6 / Double(width).squareRoot()), [values["means"]])[0]
            return try graph.apply(ContrastScores(temperature: 0.2), [z, means, values["counts"], values["images"]])[0]
        }
    }

    @Test func slicesOfRows() throws {
        try GradientTests().check(["x": [5, 3]]) { graph, values in
            let parts = try [0, 2].map { try graph.apply(SliceRows(first: $0, count: 3), [values["x"]])[0] }
            return try graph.apply(Add(), [parts[0], graph.apply(Scale(2), [parts[1]])[0]])[0]
        }
    }
}
