import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Supervised classification: a loss of the head's scores, for fine-tuning and for training from scratch. Images of a batch may be mixed
/// (mixup, cutmix); a probe leaves the encoder frozen.
public struct Classification: TrainingObjective {
    public let encoder: any ImageEncoder
    public let head: any Head
    public let loss: any ClassificationLoss
    /// nil: images are not mixed.
    public let mixing: BatchMixing?
    /// Smoothing of mixed targets.
    public let smoothing: Double
    public let frozenEncoder: Bool
    /// Views of each image whose scores the loss is the mean over.
    public let viewCount: Int

    /// Shares of the classes [B, K], read in place of the labels when images are mixed.
    static let sharesName = "targets"

    public init(
        _ encoder: any ImageEncoder, _ head: any Head, loss: any ClassificationLoss, mixing: BatchMixing? = nil, smoothing: Double = 0,
        frozenEncoder: Bool = false, views: Int = 1
    ) {
        self.encoder = encoder
        self.head = head
        self.loss = loss
        self.mixing = mixing
        self.smoothing = smoothing
        self.frozenEncoder = frozenEncoder
        viewCount = views
    }

    public var objectiveName: String { head.name }
    public var removedPrior: Double { loss.removedPrior }
    /// A frozen encoder keeps its running statistics too.
    public var updatesStatistics: Bool { !frozenEncoder }

    public func trains(_ parameter: ParameterSpecification, of model: Model) -> Bool {
        !frozenEncoder || model.headNames.contains(parameter.name)
    }

    public var views: TrainingViews { TrainingViews(plain: viewCount, contrastive: loss.featureLoss?.views ?? 0) }
    public var companions: [ParameterSpecification] { loss.featureLoss?.parameters(featureWidth: encoder.featureWidth) ?? [] }

    /// Class of each image, whatever its views, for a loss of features: [B] int32.
    private static let imageLabelsName = "image_labels"

    public func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] {
        let images = Inputs.images(builder.graph, encoder.geometry, batch: batch * views.count)
        guard let featureLoss = loss.featureLoss else {
            return [try classification(head.outputs(images, of: encoder, builder), builder.graph)]
        }
        guard let head = head as? ClassifierHead else {
            throw MRPError(.unsupported, "loss \(featureLoss.name) needs the features of a classifier, the head is \(head.name)")
        }
        let graph = builder.graph
        let features = try encoder.classifierFeatures(images, pooling: head.pooling, builder)
        let rows = batch * viewCount
        let (own, others) =
            views.contrastive == 0
            ? (features, features)
            : try (
                graph.apply(SliceRows(first: 0, count: rows), [features])[0],
                graph.apply(SliceRows(first: rows, count: batch * views.contrastive), [features])[0]
            )
        let labels = graph.input(Self.imageLabelsName, TensorType([batch], .int32), filledBy: .loader)
        return [
            try classification(encoder.scores(own, head, builder), graph),
            Loss(featureLoss.name, try featureLoss.loss(others, labels: labels, batch: batch, builder), weight: featureLoss.weight),
        ]
    }

    private func classification(_ logits: Value, _ graph: Graph) throws -> Loss {
        let rows = graph.type(of: logits).rows
        guard mixing != nil else {
            return Loss(objectiveName, try loss.loss(logits, labels: Inputs.labels(graph, batch: rows), in: graph))
        }
        let shares = graph.input(Self.sharesName, TensorType([rows, head.classes]), filledBy: .loader)
        return Loss(objectiveName, try loss.loss(logits, shares: shares, in: graph))
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        try program.write(step.labels, to: Self.imageLabelsName)
        try loss.featureLoss?.prepare(step, program)
        guard let mixing else {
            try program.withInput(Inputs.labelsName, as: Int32.self) { labels in
                for view in 0..<viewCount {
                    _ = UnsafeMutableBufferPointer(rebasing: labels[(view * step.batch)...]).update(fromContentsOf: step.labels)
                }
                try loss.prepare(labels: UnsafeBufferPointer(labels), shares: nil, program)
            }
            return true
        }
        let size = ImageSize(height: encoder.geometry.height, width: encoder.geometry.width)
        let draw = mixing.draw(seed: step.seed, step: step.step, size: size)
        var share = 1.0
        try program.withInput(Inputs.imagesName, as: Float.self) { images in
            guard let start = images.baseAddress else { return }
            let values = encoder.geometry.channels * size.height * size.width
            for view in 0..<viewCount {
                share = BatchMixing.apply(
                    draw, start + view * step.batch * values, count: step.batch, channels: encoder.geometry.channels, size: size)
            }
        }
        try program.withInput(Self.sharesName, as: Float.self) { shares in
            guard let start = shares.baseAddress, let labels = step.labels.baseAddress else { return }
            for view in 0..<viewCount {
                BatchMixing.targets(
                    labels, count: step.batch, classes: head.classes, share: share, smoothing: smoothing,
                    into: start + view * step.batch * head.classes)
            }
            try loss.prepare(labels: step.labels, shares: UnsafeBufferPointer(shares), program)
        }
        return true
    }
}

extension Classification {
    public static let descriptor = HeadDescriptor(
        ClassifierHead.name, "a linear classifier on pooled features",
        make: { request in
            let (dataset, options) = (request.dataset, request.options)
            guard dataset.labels != nil else {
                let task = dataset.maskKind == .objects ? InstanceHead.name : SegmentationHead.name
                let hint = dataset.hasTargets ? "; it has pixel masks: set task to \(task)" : ""
                throw MRPError(.argument, "fine-tuning needs labels, the dataset has none\(hint)")
            }
            let classes = options[NetworkOptions.classes] ?? max(dataset.classCount, 2)
            let std = options[NetworkOptions.headStd] ?? (options[frozenEncoder] ? 0.01 : nil)
            let head = try ClassifierHead(classes: classes, pooling: options[NetworkOptions.pooling], std: std)
            guard dataset.classCount <= head.classes else {
                throw MRPError(.argument, "the dataset has \(dataset.classCount) classes, option classes is \(head.classes)")
            }
            return head
        },
        objective: { head, request in
            let options = request.options
            let labels = request.dataset.labels
            let counts = try ClassFrequencies.counts(options, labels: labels, classes: request.dataset.classCount) ?? []
            let wanted = LossRequest(
                options: options, classes: head.classes, labels: labels,
                frequencies: ClassFrequencies(counts: counts, classes: head.classes))
            let loss = try Losses.registry.entry(options[lossName]).make(wanted)
            let mixing = BatchMixing(options)
            if let name = loss.featureLoss?.name {
                if mixing != nil { throw MRPError(.argument, "loss \(name) takes one class per image: set mixup and cutmix to 0") }
                if options[frozenEncoder] {
                    throw MRPError(.argument, "loss \(name) shapes the encoder's features: set frozen_encoder to false")
                }
            }
            return Classification(
                request.encoder, head, loss: loss, mixing: mixing, smoothing: options[CrossEntropy.labelSmoothing],
                frozenEncoder: options[frozenEncoder], views: options[viewCount])
        },
        read: { file in
            guard let classes = file.settings["classes"]?.integer else {
                throw MRPError(.format, "the configuration of a classifier needs classes")
            }
            let pooling = file.settings["pooling"]?.string.flatMap(Pooling.init) ?? .mean
            return try ClassifierHead(classes: classes, pooling: pooling)
        })

    public static var lossName: Option<String> {
        Option(
            "loss", .name(among: Losses.registry.names), default: CrossEntropy.descriptor.name, section: .objective,
            "Loss of a classifier: \(Losses.registry.all.map { "\($0.name) (\($0.source))" }.joined(separator: ", ")).")
    }

    public static let viewCount = Option(
        "views", .integer(1...16), default: 1, section: .training,
        "Differently augmented views of each image in a step of fine-tuning; the classification loss is the mean over them. Those of proco_views come on top."
    )

    public static let frozenEncoder = Option(
        "frozen_encoder", .flag, default: false, section: .training,
        "Fine-tuning trains the classifier head alone and leaves the encoder as it is: a linear probe.")
}
