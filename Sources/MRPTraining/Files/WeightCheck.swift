import MRPEngine
import MRPModels

/// Whether the tensors of a file are those of its description: names, shapes, types.
struct WeightCheck {
    /// An error names this many tensors; the rest it counts.
    private static let shownProblems = 40

    private let weights: NamedWeights
    private let adaptation: ShapeAdaptation
    private let path: String
    private let optional: [OptionalWeights]

    init(_ weights: NamedWeights, _ adaptation: ShapeAdaptation, path: String) {
        self.weights = weights
        self.adaptation = adaptation
        self.path = path
        let source = adaptation.source
        optional = source.encoder.optionalWeights(head: adaptation.file.head).filter { group in
            !weights.weights.keys.contains(where: group.contains)
        }
    }

    /// The weights that the file lacks and may lack, with remarks; all other differences are one error.
    func absent() throws -> (names: Set<String>, notes: [String]) {
        var (problems, expected, absent): ([String], Set<String>, Set<String>) = ([], [], [])
        for specification in try adaptation.source.specifications() {
            let name = specification.name
            expected.insert(name)
            if weights.weights[name] != nil {
                problems += self.problems(specification)
            } else if optional.contains(where: { $0.contains(name) }) {
                absent.insert(name)
            } else if !adaptation.isFresh(specification) {
                problems += weights.pieces(of: specification).map { "'\($0.name)' is missing" }
            }
        }
        let unexpected = weights.weights.filter { !expected.contains($0.key) && !adaptation.dropsFromFile($0.key) }
        problems += (unexpected.values.flatMap { $0.map(\.stored) } + weights.unknown).sorted().map { "'\($0)' is unexpected" }
        guard problems.isEmpty else {
            let more = problems.count > Self.shownProblems ? " and \(problems.count - Self.shownProblems) more" : ""
            throw MRPError(
                .format, "'\(path)' does not fit its configuration: \(problems.prefix(Self.shownProblems).joined(separator: ", "))\(more)")
        }
        return (absent, optional.filter { absent.contains(where: $0.contains) }.map(\.note))
    }

    /// Whatever is wrong with the stored pieces of a weight.
    private func problems(_ specification: ParameterSpecification) -> [String] {
        let parts = weights.weights[specification.name] ?? []
        var problems: [String] = []
        for (index, piece) in weights.pieces(of: specification).enumerated() {
            let found = parts.filter { $0.part == index }
            guard let part = found.first else {
                problems.append("'\(piece.name)' is missing")
                continue
            }
            if found.count > 1 { problems.append("'\(found[1].stored)' repeats '\(part.stored)'") }
            let entry = part.tensor.entry
            if entry.shape != piece.shape {
                problems.append("'\(part.stored)' has shape \(entry.shape), expected \(piece.shape)")
            } else if !entry.format.isWeight {
                problems.append("'\(part.stored)' has dtype \(entry.dtype), a weight is one of F64, F32, F16, BF16")
            }
        }
        return problems
    }
}
