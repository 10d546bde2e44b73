import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Supervised training of classes of pixels. The loss is a weighted mean over all pixels of a batch that have a class: of the cross entropy or
/// the focal loss, plus the dice loss of the classes where one is wanted. A batch without such pixels has a loss of 0.
///
/// Each share of a batch (`devices`, `accumulation_steps`) takes the mean over its own pixels.
public struct Segmentation: TrainingObjective {
    public let encoder: any ImageEncoder
    public let head: SegmentationHead
    /// Exponent of the focal loss; 0: cross entropy.
    public var focalGamma = 0.0
    /// Weight of the dice loss; 0: none.
    public var diceWeight = 0.0
    /// One for each class; empty: all are 1.
    public var classWeights: [Float] = []
    public var frozenEncoder = false
    /// Id of pixels without a class.
    public var ignored: Int32

    /// Class of each pixel [B, H W], and the factor of its loss: 0 where it has none, 1 in the mean.
    public static let labelsName = "pixel_labels"
    public static let factorsName = "pixel_factors"
    /// 1 for a pixel with a class, else 0, which the dice loss reads.
    public static let presenceName = "pixel_presence"

    public init(_ encoder: any ImageEncoder, _ head: SegmentationHead, ignored: Int32) {
        (self.encoder, self.head, self.ignored) = (encoder, head, ignored)
    }

    public var objectiveName: String { head.name }
    public var readsPixelTargets: Bool { true }

    public func trains(_ parameter: ParameterSpecification, of model: Model) -> Bool {
        !frozenEncoder || model.headNames.contains(parameter.name)
    }

    public func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] {
        let graph = builder.graph
        let images = Inputs.images(graph, encoder.geometry, batch: batch)
        let map = try head.map(images, of: encoder, builder, encoderBuilder: frozenEncoder ? builder.frozen : nil)
        let logits = try head.enlarged(map, encoder, graph)
        let rows = graph.type(of: logits).rows
        let labels = graph.input(Self.labelsName, TensorType([rows], .int32), filledBy: .loader)
        let factors = graph.input(Self.factorsName, TensorType([rows]), filledBy: .loader)
        let entropy: any Operation = focalGamma > 0 ? FocalCrossEntropy(gamma: focalGamma) : SoftmaxCrossEntropy()
        var losses = [Loss(objectiveName, try graph.apply(entropy, [logits, labels, factors])[0])]
        if diceWeight > 0 {
            let presence = graph.input(Self.presenceName, TensorType([rows]), filledBy: .loader)
            losses.append(Loss("dice", try graph.apply(DiceLoss(), [logits, labels, presence])[0], weight: diceWeight))
        }
        return losses
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        guard let ids = step.pixelTargets else { throw MRPError(.internalError, "a batch without pixel masks") }
        _ = try program.withInput(Self.labelsName, as: Int32.self) { labels in
            try program.withInput(Self.factorsName, as: Float.self) { factors in
                PixelTargets.fill(
                    labels: labels, factors: factors, from: ids, classes: head.classes, ignored: ignored, weights: classWeights)
            }
        }
        guard diceWeight > 0 else { return true }
        try program.withInput(Self.presenceName, as: Float.self) {
            PixelTargets.fill(presence: $0, from: ids, classes: head.classes, ignored: ignored)
        }
        return true
    }
}

extension Segmentation {
    public static let pyramidWidth = Option(
        "pyramid_width", .integer(FeaturePyramid.widths), auto: "that of a model pretrained by montage, else 64 below 64 pixels, else 256",
        section: .objective, "Channels of the feature pyramid that montage trains and dense prediction reads (docs/dense.md).")
    public static let form = Option(
        "segment_head", .choice(Form.self), default: .pyramid, section: .objective,
        "Task segment: what is on the encoder. pyramid, a feature pyramid and a convolution; linear, batch norm and a linear layer on its last features: with frozen_encoder a probe of what they know of places."
    )
    public static let focalGammaOption = Option(
        "focal_gamma", .number(0...10), default: 0, section: .objective,
        "Task segment: exponent of the focal loss, which makes pixels that are known well weigh less (Lin et al. 2017: 2); 0: cross entropy."
    )
    public static let diceWeightOption = Option(
        "dice_weight", .number(0...1_000), default: 0, section: .objective,
        "Task segment: weight of the dice loss of the classes (Milletari et al. 2016) beside the other; 0: none.")
    public static let pixelWeights = Option(
        "pixel_weights", .numbers, auto: "1 for all", section: .objective,
        "Task segment: weight of the pixels of each class, in the order of the classes; the loss is the weighted mean.")

    /// What is on the encoder.
    public enum Form: String, CaseIterable, Sendable { case pyramid, linear }

    public static let descriptor = HeadDescriptor(
        SegmentationHead.name, "a class for each pixel, from masks",
        options: [form, pyramidWidth, focalGammaOption, diceWeightOption, pixelWeights], names: SegmentationHead.names,
        make: { request in
            let (dataset, options) = (request.dataset, request.options)
            try dataset.requireMasks(.classes, for: "task \(SegmentationHead.name)")
            let classes = options[NetworkOptions.classes] ?? max(dataset.classCount, 2)
            guard dataset.classCount <= classes else {
                throw MRPError(.argument, "the masks have \(dataset.classCount) classes, option classes is \(classes)")
            }
            var head = try SegmentationHead(
                classes: classes, pyramid: options[form] == .pyramid ? FeaturePyramid(width: request.pyramidWidth) : nil)
            head.keepsScale = options[DataOptions.augmentation, .finetune]?.keepsScale ?? false
            return head
        },
        objective: { head, request in
            guard let head = head as? SegmentationHead else { throw MRPError(.internalError, "a head of another task") }
            let options = request.options
            guard BatchMixing(options) == nil else {
                throw MRPError(.unsupported, "task segment mixes no images: set mixup and cutmix to 0")
            }
            guard options[Classification.viewCount] == 1 else {
                throw MRPError(.unsupported, "task segment takes one view of each image, views is \(options[Classification.viewCount])")
            }
            var result = Segmentation(request.encoder, head, ignored: request.dataset.ignoredId)
            (result.focalGamma, result.diceWeight) = (options[focalGammaOption], options[diceWeightOption])
            result.frozenEncoder = options[Classification.frozenEncoder]
            if let weights = options[pixelWeights] {
                guard weights.count == head.classes else {
                    throw MRPError(.argument, "pixel_weights has \(weights.count) numbers, there are \(head.classes) classes")
                }
                if let bad = weights.first(where: { !($0 >= 0 && $0.isFinite) }) {
                    throw MRPError(.argument, "pixel_weights \(bad) is below 0")
                }
                result.classWeights = weights.map { Float($0) }
            }
            return result
        },
        read: { file in
            guard let classes = file.settings["classes"]?.integer else {
                throw MRPError(.format, "the configuration of a segmenter needs classes")
            }
            var head = try SegmentationHead(
                classes: classes, pyramid: file.settings["pyramid_width"]?.integer.map { try FeaturePyramid(width: $0) })
            head.keepsScale = file.settings["keeps_scale"]?.bool ?? false
            return head
        })
}
