import MRPEngine
import MRPOptions

/// Classes of a label tree at one of its levels. The tree is in the names, whose parts are separated by "/": level k knows their first k parts,
/// level 0 the names as they are.
public struct LabelLevel: Sendable {
    /// The classes at this level, in the order in which the first of each comes.
    public let names: [String]
    /// The place of each class among them.
    public let places: [Int]

    static let separator = UInt8(ascii: "/")

    /// - owner: whose classes they are, for errors: "the model".
    ///
    /// Errors: `.argument`, which names the class, for one with fewer parts than the level or with an empty one.
    public init(_ classes: [String], level: Int, owner: String) throws {
        guard level > 0 else {
            (names, places) = (classes, Array(classes.indices))
            return
        }
        var (names, places, known): ([String], [Int], [[UInt8]: Int]) = ([], [], [:])
        for name in classes {
            let parts = name.utf8.split(separator: Self.separator, omittingEmptySubsequences: false)
            guard parts.allSatisfy({ !$0.isEmpty }) else {
                throw MRPError(.argument, "label_level \(level): \(owner)'s class '\(name)' has an empty part")
            }
            guard parts.count >= level else {
                throw MRPError(
                    .argument, "label_level \(level) is deeper than \(owner)'s class '\(name)', which has \(parts.count) of its parts")
            }
            let path = Array(parts[..<level].joined(separator: [Self.separator]))
            if known[path] == nil {
                known[path] = names.count
                names.append(String(decoding: path, as: UTF8.self))
            }
            places.append(known[path] ?? 0)
        }
        (self.names, self.places) = (names, places)
    }

    /// True where no two classes are one at this level.
    public var keepsClasses: Bool { names.count == places.count }

    /// The same images with the classes of a level; the dataset itself where that changes nothing, or it has no labels. Errors: as `init`.
    public static func dataset(_ base: ImageDataset, level: Int) throws -> ImageDataset {
        guard level > 0, let labels = base.labels else { return base }
        try Memory.check(base.classCount, bytesEach: 512, for: "the names of \(base.classCount) classes")
        let found = try LabelLevel(base.classNames, level: level, owner: "the dataset")
        guard found.names != base.classNames else { return base }
        let memory = try Memory(labels.count, elementBytes: 4, for: "\(labels.count) labels")
        let coarse = memory.typed(Int32.self)
        for (image, label) in labels.enumerated() { coarse[image] = Int32(found.places[Int(label)]) }
        return NamedClassesDataset(base, labels: memory, names: found.names)
    }
}

/// Answer of a classifier with finer classes at a level.
public enum LevelReadout: String, CaseIterable, Sendable {
    /// The sum of the classes' probabilities: log-sum-exp of their scores.
    case sum
    /// The largest of their scores.
    case max
}

/// Options of label trees.
public enum LevelOptions {
    public static let labelLevel = Option(
        "label_level", .integer(0...64), default: 0, section: .data,
        "Level of the label tree that fine-tuning, evaluation, prediction and probes see: the first so many parts of the classes' names, separated by /; 0: the classes as they are named. A model with finer classes answers at the level."
    )
    public static let levelReadout = Option(
        "level_readout", .choice(LevelReadout.self), default: .sum, section: .data,
        "How a model with finer classes than label_level answers: sum, a class has the sum of its finer ones' probabilities; max, the largest of their scores."
    )

    public static let all: [any OptionDeclaration] = [labelLevel, levelReadout]
}
