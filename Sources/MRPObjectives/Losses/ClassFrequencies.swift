import Glibc
import MRPEngine
import MRPModels
import MRPOptions

/// Training images by class, and what losses for long tails make of them.
public struct ClassFrequencies: Sendable {
    public let counts: [Double]
    /// Outputs of the classifier; those without a name among the classes have no images.
    public let classes: Int

    public init(counts: [Double], classes: Int) { (self.counts, self.classes) = (counts, classes) }

    public static let classCounts = Option(
        "class_counts", .numbers, auto: "those of the training labels, kept in the classifier's file", section: .objective,
        "Training images of each class, in the order of the classes: what balanced, logit_adjusted and proco, prior = uniform and the metrics for many, medium and few images go by."
    )

    /// The counts that the options give, else those of the labels; nil: neither are there. Errors: `.argument` for another number of classes.
    public static func counts(_ options: Options, labels: UnsafeBufferPointer<Int32>?, classes: Int) throws -> [Double]? {
        guard let given = options[classCounts] else { return labels.map { ClassPrior.counts(of: $0, classes: classes) } }
        guard given.count == classes else {
            throw MRPError(.argument, "class_counts has \(given.count) numbers, there are \(classes) classes")
        }
        if let bad = given.first(where: { $0 < 0 }) { throw MRPError(.argument, "class_counts \(NumberText.short(bad)) is below 0") }
        guard given.contains(where: { $0 > 0 }) else { throw MRPError(.argument, "class_counts has no number above 0") }
        return given
    }

    /// The same, where every class has images. Errors: `.argument` with the first one that has none.
    func complete(for loss: String) throws -> ClassFrequencies {
        guard counts.count == classes else {
            throw MRPError(
                .argument,
                "loss \(loss) needs images of every class: the classifier has \(classes) outputs, the images have \(counts.count) classes")
        }
        if let bare = counts.firstIndex(of: 0) {
            throw MRPError(
                .argument, "loss \(loss) needs images of every class, class \(bare) has none: leave it out, or set class_counts")
        }
        return self
    }

    /// exponent x log of each class's share, the summand of logit adjustment.
    func logPrior(exponent: Double) -> [Double] {
        let total = counts.reduce(0, +)
        return counts.map { exponent * log($0 / total) }
    }

    /// N / (C n_j), as scikit-learn's class_weight="balanced".
    var balancedWeights: [Double] {
        let total = counts.reduce(0, +)
        return counts.map { total / (Double(counts.count) * $0) }
    }
}

extension Graph {
    /// A row of constants, float32.
    func constant(row: [Double]) throws -> Value {
        let tensor = try Tensor([row.count])
        for (index, value) in row.enumerated() { tensor[index] = value }
        return constant(tensor)
    }
}
