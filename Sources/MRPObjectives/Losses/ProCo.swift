import MRPEngine
import MRPModels
import MRPOptions

/// Probabilistic contrastive learning (Du et al. 2024, arXiv 2403.06726): beside the logit-adjusted loss of the classifier a contrast of
/// projected features against von Mises-Fisher distributions of the classes, in closed form and with as many samples as one likes.
///
/// The distributions come from running means of the features, in two copies: at the start of an epoch `old` becomes what `fresh` was and `fresh`
/// begins anew. Both take in each batch, view by view, before its scores by `old` are computed. Counts and means are float32, their sums double.
public struct ProCo: ClassificationLoss, FeatureLoss {
    private let classifier: LogitAdjusted
    private let frequencies: ClassFrequencies
    private let exponent: Double
    private let width: Int
    private let scores: ContrastScores
    public let views: Int
    public let weight: Double

    public var name: String { Self.descriptor.name }
    public var featureLoss: (any FeatureLoss)? { self }
    public var removedPrior: Double { classifier.removedPrior }

    init(_ request: LossRequest) throws {
        let options = request.options
        frequencies = try request.frequencies.complete(for: Self.descriptor.name)
        exponent = options[LogitAdjusted.logitAdjustment]
        classifier = try LogitAdjusted(frequencies, exponent: exponent, smoothing: options[CrossEntropy.labelSmoothing])
        width = options[Self.projectionWidth]
        views = options[Self.contrastViews]
        weight = options[Self.contrastWeight]
        let perImage = views > 0 ? views : options[Classification.viewCount]
        scores = ContrastScores(temperature: options[Self.temperature], unbiased: options[Self.unbiased], views: perImage)
    }

    static let contrastWeight = Option(
        "proco_weight", .number(0...1e6), default: 1, section: .objective, "Factor of proco's contrast beside the classifier's loss.")
    static let temperature = Option(
        "proco_temperature", .number(0.005...10), default: 0.1, section: .objective,
        "Temperature of proco's contrast (Du et al. 2024: 0.1, ImageNet 0.07).")
    static let projectionWidth = Option(
        "proco_width", .integer(ContrastScores.smallestWidth...65_536), default: 128, section: .objective,
        "Width of the features that proco compares: it projects by two layers, the inner one four times as wide, with a batch norm (Du et al. 2024: 128, ImageNet 1024)."
    )
    static let contrastViews = Option(
        "proco_views", .integer(0...16), default: 2, section: .objective,
        "Views of each image that proco compares, beside the classifier's own; 0: the classifier's, which costs no second pass.")
    static let unbiased = Option(
        "proco_unbiased", .flag, default: false, section: .objective,
        "Whether proco estimates the concentration of a class from the unbiased square of its mean, and that of a class with one image from the others: the plain estimate takes rare classes for more concentrated than they are."
    )

    public static let descriptor = LossDescriptor(
        "proco", source: "Du et al. 2024, probabilistic contrastive learning with logit_adjusted",
        options: [contrastWeight, temperature, projectionWidth, contrastViews, unbiased], make: { try ProCo($0) })

    // MARK: The classifier

    public func loss(_ logits: Value, labels: Value, in graph: Graph) throws -> Value {
        try classifier.loss(logits, labels: labels, in: graph)
    }

    public func loss(_ logits: Value, shares: Value, in graph: Graph) throws -> Value {
        throw MRPError(.argument, "loss \(name) takes one class per image: set mixup and cutmix to 0")
    }

    // MARK: The contrast

    private enum Name {
        static let hidden = "proco.fc1"
        static let norm = "proco.bn1"
        static let projection = "proco.fc2"
        static let initial = "proco.initial_means"
        /// Factors [C]: 1 where an epoch begins, else 0; and the reverse.
        static let begins = "proco.begins"
        static let goesOn = "proco.goes_on"
        static func means(_ copy: String) -> String { "proco.\(copy)_means" }
        static func counts(_ copy: String) -> String { "proco.\(copy)_counts" }
    }

    public func parameters(featureWidth: Int) -> [ParameterSpecification] {
        let classes = frequencies.counts.count
        func estimate(_ name: String, _ shape: [Int], _ initializer: Initializer) -> ParameterSpecification {
            ParameterSpecification(name, shape, initializer, role: .statistic)
        }
        return linearParameters(Name.hidden, from: featureWidth, to: 4 * width) + batchNormParameters(Name.norm, width: 4 * width)
            + linearParameters(Name.projection, from: 4 * width, to: width)
            + [estimate(Name.initial, [classes, width], .directions(length: 0.9))]
            + ["old", "fresh"].flatMap { copy in
                [
                    estimate(Name.means(copy), [classes, width], .copy(of: Name.initial)),
                    estimate(Name.counts(copy), [classes], .zeros),
                ]
            }
    }

    /// One copy of the running means and their counts.
    private struct Estimate {
        var means: Value
        var counts: Value

        /// Takes in unit features [B, width].
        mutating func add(_ z: Value, labels: Value, in graph: Graph) throws {
            let new = try graph.apply(ClassMeans(), [z, labels, means, counts])
            (means, counts) = (new[0], new[1])
        }
    }

    private func stored(_ copy: String, _ builder: NetworkBuilder) throws -> Estimate {
        try Estimate(means: builder.weight(Name.means(copy)), counts: builder.weight(Name.counts(copy)))
    }

    /// Both copies as a step finds them: where it begins an epoch, the old one is the fresh one and that is new.
    private func begun(_ old: Estimate, _ fresh: Estimate, _ builder: NetworkBuilder) throws -> (old: Estimate, fresh: Estimate) {
        let graph = builder.graph
        let type = graph.type(of: old.counts)
        let (begins, goesOn) = (
            graph.input(Name.begins, type, filledBy: .schedule), graph.input(Name.goesOn, type, filledBy: .schedule)
        )
        func choose(_ atStart: Value?, _ else: Value) throws -> Value {
            let kept = try graph.apply(ScaleImages(), [`else`, goesOn])[0]
            return try atStart.map { try graph.apply(ScaleImages(), [$0, begins, kept])[0] } ?? kept
        }
        return (
            Estimate(means: try choose(fresh.means, old.means), counts: try choose(fresh.counts, old.counts)),
            Estimate(means: try choose(builder.weight(Name.initial), fresh.means), counts: try choose(nil, fresh.counts))
        )
    }

    public func loss(_ features: Value, labels: Value, batch: Int, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let hidden = try builder.batchNorm(Name.norm, builder.linear(Name.hidden, features), .relu, epsilon: 1e-5)
        let z = try graph.apply(UnitRows(), [builder.linear(Name.projection, hidden)])[0]
        let (storedOld, storedFresh) = try (stored("old", builder), stored("fresh", builder))
        var (old, fresh) = try begun(storedOld, storedFresh, builder)
        let images = try graph.constant(row: frequencies.counts)
        let prior = try graph.constant(row: frequencies.logPrior(exponent: exponent))
        let count = graph.type(of: z).rows / max(batch, 1)
        var sum: Value?
        for view in 0..<count {
            let own = count == 1 ? z : try graph.apply(SliceRows(first: view * batch, count: batch), [z])[0]
            try old.add(own, labels: labels, in: graph)
            try fresh.add(own, labels: labels, in: graph)
            let contrast = try graph.apply(scores, [own, old.means, old.counts, images])[0]
            let loss = try graph.apply(SoftmaxCrossEntropy(), [graph.apply(AddRow(), [contrast, prior])[0], labels])[0]
            sum = try sum.map { try graph.apply(Add(), [$0, loss])[0] } ?? loss
        }
        for (stored, new) in [(storedOld, old), (storedFresh, fresh)] {
            try graph.apply(Assign(), [stored.means, new.means])
            try graph.apply(Assign(), [stored.counts, new.counts])
        }
        guard let sum else { throw MRPError(.internalError, "proco without views") }
        return count == 1 ? sum : try graph.apply(Scale(1 / Double(count)), [sum])[0]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws {
        let classes = frequencies.counts.count
        try program.write(reals: [Double](repeating: step.startsEpoch ? 1 : 0, count: classes), to: Name.begins)
        try program.write(reals: [Double](repeating: step.startsEpoch ? 0 : 1, count: classes), to: Name.goesOn)
    }
}
