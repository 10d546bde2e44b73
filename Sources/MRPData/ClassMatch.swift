import MRPEngine

/// The classes of labelled images as places in a list of known classes. Two classes are the same when they have the same name.
///
/// In a label tree (`LabelLevel`) a class that is not known stands for the nearest known one above it: cat/persian for cat.
///
/// Classes without names are numbers. They are matched to known classes that are numbers too by their value, and to named ones by their
/// place in the list.
public struct ClassMatch: Sendable {
    /// The place of each class of the images; nil for one that is not known.
    public let places: [Int?]
    /// Images whose class is not known.
    public let unknownImages: Int
    /// One line about what was guessed or is not known; nil when every class has its namesake.
    public let warning: String?

    /// - Parameters:
    ///   - known: names of the known classes; empty where they have none: then they are the numbers below `count`.
    ///   - owner: who knows them, for errors: "the model".
    ///
    /// Errors: `.argument` without labels, or when no image has a known class.
    public init(_ dataset: ImageDataset, known: [String], count: Int, owner: String) throws {
        guard let labels = dataset.labels else { throw MRPError(.argument, "evaluation needs labels, the dataset has none") }
        let names = dataset.classNames
        let areNumbers = known.allSatisfy { Int($0) != nil }
        let isByPlace = known.isEmpty || (!areNumbers && !dataset.hasClassNames)
        let limit = known.isEmpty ? count : known.count
        // Names are compared by their bytes.
        let byName = isByPlace ? [:] : Dictionary(known.enumerated().map { (Array($1.utf8), $0) }, uniquingKeysWith: { first, _ in first })
        let places = names.enumerated().map { isByPlace ? ($0 < limit ? $0 : nil) : Self.nearest($1, byName) }
        var images = [Int](repeating: 0, count: names.count)
        for label in labels { images[Int(label)] += 1 }
        let unknown = names.indices.filter { places[$0] == nil && images[$0] > 0 }
        unknownImages = unknown.reduce(0) { $0 + images[$1] }
        self.places = places
        let said = known.isEmpty ? "0 ..< \(count)" : Self.list(known)
        guard unknownImages < labels.count else {
            throw MRPError(
                .argument,
                "none of the images' classes (\(Self.list(unknown.map { names[$0] }))) is one of \(owner)'s (\(said))\(Self.hint(names[unknown[0]], known))"
            )
        }
        if !unknown.isEmpty {
            let list = Self.list(unknown.map { names[$0] })
            warning =
                "\(unknownImages) of \(labels.count) images have classes (\(list)) that are none of \(owner)'s (\(said)): they count as wrong"
        } else if isByPlace, !areNumbers {
            warning = "the images' classes are numbers, \(owner)'s are names: 0 is taken for '\(known[0])' and so on"
        } else {
            warning = nil
        }
    }

    /// The place of a name, or of the longest known one above it.
    private static func nearest(_ name: String, _ places: [[UInt8]: Int]) -> Int? {
        var path = Array(name.utf8)
        while true {
            if let place = places[path] { return place }
            guard let end = path.lastIndex(of: LabelLevel.separator) else { return nil }
            path.removeSubrange(end...)
        }
    }

    /// Advice about a class above known ones.
    private static func hint(_ name: String, _ known: [String]) -> String {
        let path = Array(name.utf8)
        guard known.contains(where: { $0.utf8.starts(with: path + [LabelLevel.separator]) }) else { return "" }
        return ": set label_level to \(path.count { $0 == LabelLevel.separator } + 1)"
    }

    /// A few names, for people.
    public static func list(_ names: [String]) -> String {
        let most = 8
        return names.prefix(most).joined(separator: ", ") + (names.count > most ? ", ... (\(names.count))" : "")
    }
}
