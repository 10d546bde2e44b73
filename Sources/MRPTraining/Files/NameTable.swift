import MRPModels
import MRPObjectives

/// Names of weights in all spellings: the rows of all families of encoders, objectives and heads.
struct NameTable {
    /// A weight, or a part of one, that a stored name stands for.
    struct Found {
        let name: String
        let part: Int
        let parts: Int
    }

    /// A stored tensor of a weight: its name, its shape, and where it begins in our tensor, in elements.
    struct Piece: Equatable {
        let name: String
        let shape: [Int]
        let offset: Int
    }

    private let rows: [String: NameRow]
    /// For each spelling, from a pattern to ours.
    private let patterns: [WeightNames: [String: Found]]

    init() {
        let all =
            Encoders.registry.all.flatMap(\.names.rows) + Objectives.registry.all.flatMap(\.names) + Heads.registry.all.flatMap(\.names)
        rows = Dictionary(all.map { ($0.name, $0) }) { first, _ in first }
        var patterns: [WeightNames: [String: Found]] = [:]
        for names in WeightNames.allCases {
            for row in all {
                let parts = row[names].split(separator: "|")
                for (index, part) in parts.enumerated() {
                    patterns[names, default: [:]][String(part)] = Found(name: row.name, part: index, parts: parts.count)
                }
            }
        }
        self.patterns = patterns
    }

    /// The stored pieces of a weight, in order: most are stored whole, hub names split qkv into query, key and value. A weight that no row
    /// names keeps its name.
    func pieces(of specification: ParameterSpecification, in spelling: WeightNames) -> [Piece] {
        let names = names(of: specification.name, in: spelling)
        guard names.count > 1 else { return [Piece(name: names[0], shape: specification.storedShape, offset: 0)] }
        let shape = [specification.storedShape[0] / names.count] + specification.storedShape.dropFirst()
        let count = shape.reduce(1, *)
        return names.enumerated().map { Piece(name: $1, shape: shape, offset: $0 * count) }
    }

    private func names(of weight: String, in spelling: WeightNames) -> [String] {
        let (pattern, numbers, suffix) = Self.split(weight)
        guard let row = rows[pattern] else { return [weight] }
        return row[spelling].split(separator: "|").map { Self.fill($0, numbers) + suffix }
    }

    /// The weight of a stored name; nil when the spelling has no such name.
    func weight(stored name: String, in spelling: WeightNames) -> Found? {
        let (pattern, numbers, suffix) = Self.split(name)
        guard let found = patterns[spelling]?[pattern] else { return nil }
        return Found(name: Self.fill(found.name[...], numbers) + suffix, part: found.part, parts: found.parts)
    }

    private static let suffixes: Set<Substring> = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]

    /// `blocks.3.norm1.weight` -> (`blocks.*.norm1`, [`3`], `.weight`).
    private static func split(_ name: String) -> (pattern: String, numbers: [Substring], suffix: String) {
        var parts = name.split(separator: ".", omittingEmptySubsequences: false)
        var suffix = ""
        if let last = parts.last, suffixes.contains(last) {
            suffix = "." + last
            parts.removeLast()
        }
        var numbers: [Substring] = []
        for index in parts.indices where !parts[index].isEmpty && parts[index].utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
            numbers.append(parts[index])
            parts[index] = "*"
        }
        return (parts.joined(separator: "."), numbers, suffix)
    }

    private static func fill(_ pattern: Substring, _ numbers: [Substring]) -> String {
        var numbers = numbers[...]
        return pattern.split(separator: ".").map { $0 == "*" ? numbers.popFirst() ?? "*" : $0 }.joined(separator: ".")
    }
}
