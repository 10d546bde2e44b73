import Glibc
import MRPEngine

/// The images of each class that a classifier was trained on, and how much of their prior its scores contain. Part of its file: predictions
/// for another prior and measures of rare classes go by it.
public struct ClassPrior: Equatable, Sendable {
    /// Training images by class, in the order of the classes; those beyond the end have none.
    public let counts: [Double]
    /// Scores are log p(image | class) + exponent x log prior(class) up to a constant: 1 after plain cross entropy, 0 where the loss or the
    /// sampler took the prior out.
    public let exponent: Double

    public init(counts: [Double], exponent: Double) {
        self.counts = counts
        self.exponent = exponent
    }

    /// Those of labels in 0 ..< classes.
    public static func counts(of labels: UnsafeBufferPointer<Int32>, classes: Int) -> [Double] {
        var counts = [Double](repeating: 0, count: classes)
        for label in labels { counts[Int(label)] += 1 }
        return counts
    }

    public func count(of label: Int) -> Double { label < counts.count ? counts[label] : 0 }

    /// Summands of the scores of `classes` outputs so that all classes are equally likely beforehand (Menon et al. 2021, post hoc): minus
    /// what they contain of the log prior. Classes without training images cannot come out. nil: nothing is to be added.
    public func uniformOffsets(classes: Int) -> [Float]? {
        guard exponent != 0 else { return nil }
        let total = counts.reduce(0, +)
        return (0..<classes).map { label in
            let count = count(of: label)
            return count > 0 ? Float(-exponent * log(count / total)) : Self.never
        }
    }

    /// Far below any score, and finite.
    private static let never: Float = -1e30

    // MARK: In files

    public var members: [(key: String, value: JSON)] {
        [
            ("class_counts", .array(counts.map { Int(exactly: $0).map { .integer($0) } ?? .number($0) })),
            ("prior_exponent", .number(exponent)),
        ]
    }

    /// That of a file, for a classifier with this many classes; nil: the file has none. Errors (`.format`): numbers that no training gives.
    public init?(_ settings: JSON, classes: Int) throws {
        guard let list = settings["class_counts"]?.array else { return nil }
        let counts = list.compactMap(\.number)
        guard counts.count == list.count, counts.count <= classes, counts.allSatisfy({ $0 >= 0 && $0.isFinite }),
            counts.contains(where: { $0 > 0 })
        else { throw MRPError(.format, "class_counts of the configuration are no numbers of images of \(classes) classes") }
        let exponent = settings["prior_exponent"]?.number ?? 1
        guard exponent.isFinite else { throw MRPError(.format, "prior_exponent \(exponent) is no number") }
        self.init(counts: counts, exponent: exponent)
    }
}
