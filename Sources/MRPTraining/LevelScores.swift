import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// A classifier's answer at the level of the label tree that option `label_level` names.
struct LevelScores {
    let names: [String]
    private let places: [Int]
    private let readout: LevelReadout

    /// Nil where the model's own classes are meant. Errors: `.argument` when the model has no classes at the level.
    init?(_ model: Model, _ head: any Head, _ options: Options) throws {
        let level = options[LevelOptions.labelLevel]
        guard level > 0 else { return nil }
        let own = model.classNames.isEmpty ? (0..<head.classes).map(String.init) : Array(model.classNames.prefix(head.classes))
        let found = try LabelLevel(own, level: level, owner: "the model")
        guard found.names != model.classNames else { return nil }
        (names, places, readout) = (found.names, found.places, options[LevelOptions.levelReadout])
    }

    /// The scores of the level's classes from those of all outputs. Outputs without a name have no part in them.
    func scores(_ row: UnsafeBufferPointer<Float>, _ result: inout [Float]) {
        var largest = [Float](repeating: -.infinity, count: names.count)
        for (output, place) in places.enumerated() { largest[place] = max(largest[place], row[output]) }
        guard readout == .sum else { return result = largest }
        var sums = [Double](repeating: 0, count: names.count)
        for (output, place) in places.enumerated() { sums[place] += exp(Double(row[output] - largest[place])) }
        result = zip(largest, sums).map { Float(Double($0) + log($1)) }
    }

    /// Their probabilities.
    func probabilities(_ row: UnsafeBufferPointer<Float>, _ result: inout [Float]) {
        scores(row, &result)
        let largest = result.reduce(-.infinity, max)
        let powers = result.map { exp(Double($0 - largest)) }
        let total = powers.reduce(0, +)
        result = powers.map { Float($0 / total) }
    }
}

extension Options {
    /// A dataset's classes at the level that `label_level` names. Errors: `.argument`.
    func atLevel(_ dataset: ImageDataset) throws -> ImageDataset {
        try LabelLevel.dataset(dataset, level: self[LevelOptions.labelLevel])
    }

    func atLevel(_ validation: Validation) throws -> Validation {
        Validation(heldOut: try atLevel(validation.heldOut), reference: try validation.reference.map(atLevel))
    }
}
