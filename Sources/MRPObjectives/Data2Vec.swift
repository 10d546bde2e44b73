import MRPEngine
import MRPModels
import MRPOptions

/// data2vec (Baevski et al. 2022, "data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language", arXiv
/// 2202.03555).
///
/// - The student sees all places, mask tokens where patches are hidden; a convolutional network the visible cells (`MaskedStudent`).
/// - The target is the teacher's features of the whole image at the hidden places: the outputs of its last `layers` blocks, each layer
///   normed without scale and shift, their mean, normed again (`Teacher.Norm`).
/// - The loss is the smooth L1 error over hidden patches; a linear layer predicts them. The teacher follows as a moving average.
public struct Data2Vec: TaughtObjective {
    public static let name = "data2vec"

    public let student: any MaskedStudent
    public let teacher: Teacher
    public let layers: Int
    public let beta: Double

    /// `layers` nil: the upper half of the encoder's layers that are alike; of a convolutional network the last stage, the only one of its size.
    public init(_ encoder: any ImageEncoder, _ settings: StudentSettings, layers: Int?, beta: Double, teacher: Teacher) throws {
        let most = encoder.alikeLayers
        let layers = layers ?? max(most / 2, 1)
        guard layers >= 1, layers <= most else {
            throw MRPError(.argument, "teacher_layers \(layers) is outside 1 ... \(most), the encoder's layers of the same size")
        }
        student = try settings.student(encoder, Self.name, outputs: encoder.featureWidth)
        self.teacher = teacher
        self.layers = layers
        self.beta = beta
    }

    public func parameters() -> [ParameterSpecification] { student.parameters + teacher.parameters }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = Inputs.images(graph, student.geometry, batch: batch)
        let prediction = try student.prediction(images, builder, batch: batch)
        var sum: Value?
        for layer in try teacher.layers(images, last: layers, builder) {
            let normed = try teacher.target(layer, builder)
            sum = try sum.map { try graph.apply(Add(), [$0, normed])[0] } ?? normed
        }
        guard let sum else { throw MRPError(.internalError, "data2vec without layers") }
        let target = try teacher.target(graph.apply(Scale(1 / Double(layers)), [sum])[0], builder)
        let hidden = try builder.gather(target, ids: student.hiddenRows(graph, batch: batch))
        return try graph.apply(SmoothL1(beta: beta), [prediction, hidden])[0]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { try student.prepare(step, program) }
}

extension Data2Vec {
    /// Blocks of the teacher whose mean is the target.
    public static let teacherLayers = Option(
        "teacher_layers", .integer(1...TransformerConfiguration.maximumDepth),
        auto: "half of them. Of a convolutional network 1, its last stage",
        section: .objective, "Blocks of the teacher, from the last, whose mean is data2vec's target")

    public static let descriptor = ObjectiveDescriptor(
        name, source: "Baevski et al. 2022", usualMasks: MaskChoice(.block, ratio: 0.6), usualTeacherDecay: Teacher.Decay(0.99, 0.9999),
        options: [teacherLayers],
        make: { request in
            try Data2Vec(
                request.encoder, request.student(), layers: request.options[teacherLayers],
                beta: request.options[ObjectiveOptions.smoothL1Beta] ?? 2, teacher: request.teacher())
        })
}
