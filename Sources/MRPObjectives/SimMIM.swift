import MRPEngine
import MRPModels
import MRPOptions

/// SimMIM (Xie et al. 2022, "A Simple Framework for Masked Image Modeling", arXiv 2111.09886).
///
/// - The student sees all places, mask tokens where patches are hidden; a convolutional network the visible cells (`MaskedStudent`).
/// - The target is the hidden patches' pixels, as the network sees them (or standardised per patch with `normalizesTargets`).
/// - The loss is the mean absolute error over the pixels of hidden patches; a linear layer predicts them.
public struct SimMIM: PretrainingObjective {
    public static let name = "simmim"

    public let student: any MaskedStudent
    public let normalizesTargets: Bool

    public init(_ encoder: any ImageEncoder, _ settings: StudentSettings, normalizesTargets: Bool = false) throws {
        student = try settings.student(encoder, Self.name, outputs: encoder.geometry.patchValues)
        self.normalizesTargets = normalizesTargets
    }

    public func parameters() -> [ParameterSpecification] { student.parameters }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = Inputs.images(graph, student.geometry, batch: batch)
        let prediction = try student.prediction(images, builder, batch: batch)
        // Pixels in the order of a 1 x 1 convolution with pixel shuffle: channel, row, column.
        let patches = ExtractPatches(student.geometry, order: .channelsFirst)
        var target = try graph.apply(patches, [images, student.hidden(graph, batch: batch)])[0]
        if normalizesTargets { target = try graph.apply(StandardizeRows(), [target])[0] }
        return try graph.apply(SmoothL1(beta: 0), [prediction, target])[0]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { try student.prepare(step, program) }
}

extension SimMIM {
    public static let descriptor = ObjectiveDescriptor(
        name, source: "Xie et al. 2022", usualMasks: MaskChoice(.random, ratio: 0.6),
        make: { request in
            // Raw pixels are what SimMIM is; standardised ones have to be asked for.
            let isAsked = request.options.isSet(ObjectiveOptions.normPixLoss)
            return try SimMIM(
                request.encoder, request.student(), normalizesTargets: isAsked && request.options[ObjectiveOptions.normPixLoss])
        })
}
