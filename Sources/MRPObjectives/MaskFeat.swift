import MRPEngine
import MRPModels

/// MaskFeat (Wei et al. 2022, "Masked Feature Prediction for Self-Supervised Visual Pre-Training", arXiv 2112.09133).
///
/// - The student sees all places, mask tokens where patches are hidden; a convolutional network the visible cells (`MaskedStudent`).
/// - The target is the histograms of oriented gradients of the hidden patches: 9 bins, per channel and cell, each cell of length 1.
/// - The loss is the mean squared error over hidden patches; a linear layer predicts them.
public struct MaskFeat: PretrainingObjective {
    public static let name = "maskfeat"

    public let student: any MaskedStudent
    private var histograms: HistogramsOfGradients { HistogramsOfGradients(student.geometry) }

    public init(_ encoder: any ImageEncoder, _ settings: StudentSettings) throws {
        student = try settings.student(encoder, Self.name, outputs: HistogramsOfGradients(encoder.geometry).values)
    }

    public func parameters() -> [ParameterSpecification] { student.parameters }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = Inputs.images(graph, student.geometry, batch: batch)
        let prediction = try student.prediction(images, builder, batch: batch)
        let all = try graph.apply(histograms, [images])[0]
        let target = try builder.gather(all, ids: student.hidden(graph, batch: batch))
        return try graph.apply(MeanSquaredError(), [prediction, target])[0]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { try student.prepare(step, program) }
}

extension MaskFeat {
    public static let descriptor = ObjectiveDescriptor(
        name, source: "Wei et al. 2022", usualMasks: MaskChoice(.block, ratio: 0.4),
        make: { try MaskFeat($0.encoder, $0.student()) })
}
