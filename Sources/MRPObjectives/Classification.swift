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

    /// Shares of the classes [B, K], read in place of the labels when images are mixed.
    static let sharesName = "targets"

    public init(
        _ encoder: any ImageEncoder, _ head: any Head, loss: any ClassificationLoss, mixing: BatchMixing? = nil, smoothing: Double = 0,
        frozenEncoder: Bool = false
    ) {
        self.encoder = encoder
        self.head = head
        self.loss = loss
        self.mixing = mixing
        self.smoothing = smoothing
        self.frozenEncoder = frozenEncoder
    }

    public var objectiveName: String { head.name }
    public var removedPrior: Double { loss.removedPrior }
    /// A frozen encoder keeps its running statistics too.
    public var updatesStatistics: Bool { !frozenEncoder }

    public func trains(_ parameter: ParameterSpecification, of model: Model) -> Bool {
        !frozenEncoder || model.headNames.contains(parameter.name)
    }

    public func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] {
        let graph = builder.graph
        let logits = try head.outputs(Inputs.images(graph, encoder.geometry, batch: batch), of: encoder, builder)
        guard mixing != nil else {
            return [Loss(objectiveName, try loss.loss(logits, labels: Inputs.labels(graph, batch: batch), in: graph))]
        }
        let shares = graph.input(Self.sharesName, TensorType([batch, head.classes]), filledBy: .loader)
        return [Loss(objectiveName, try loss.loss(logits, shares: shares, in: graph))]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        guard let mixing else {
            try program.write(step.labels, to: Inputs.labelsName)
            try loss.prepare(labels: step.labels, shares: nil, program)
            return true
        }
        let size = ImageSize(height: encoder.geometry.height, width: encoder.geometry.width)
        let draw = mixing.draw(seed: step.seed, step: step.step, size: size)
        var share = 1.0
        try program.withInput(Inputs.imagesName, as: Float.self) { images in
            guard let images = images.baseAddress else { return }
            share = BatchMixing.apply(draw, images, count: step.batch, channels: encoder.geometry.channels, size: size)
        }
        try program.withInput(Self.sharesName, as: Float.self) { shares in
            guard let shares = shares.baseAddress, let labels = step.labels.baseAddress else { return }
            BatchMixing.targets(labels, count: step.batch, classes: head.classes, share: share, smoothing: smoothing, into: shares)
        }
        try program.withInput(Self.sharesName, as: Float.self) { shares in
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
            guard dataset.labels != nil else { throw MRPError(.argument, "fine-tuning needs labels, the dataset has none") }
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
            return Classification(
                request.encoder, head, loss: loss, mixing: BatchMixing(options),
                smoothing: options[CrossEntropy.labelSmoothing], frozenEncoder: options[frozenEncoder])
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

    public static let frozenEncoder = Option(
        "frozen_encoder", .flag, default: false, section: .training,
        "Fine-tuning trains the classifier head alone and leaves the encoder as it is: a linear probe.")
}
