import MRPEngine
import MRPModels

/// data2vec (Baevski et al. 2022, "data2vec: A General Framework for Self-supervised Learning in Speech, Vision and Language", arXiv
/// 2202.03555).
///
/// - The student sees all places, mask tokens where patches are hidden.
/// - The target is the teacher's features of the whole image at the hidden places: the outputs of its last `layers` blocks, each layer
///   normed without scale and shift, their mean, layer normed again.
/// - The loss is the smooth L1 error over hidden patches; a linear layer predicts them. The teacher follows as a moving average.
public struct Data2Vec: PretrainingObjective {
    public static let name = "data2vec"

    public let student: MaskTokenStudent
    public let teacher: Teacher
    public let layers: Int
    public let beta: Double

    public init(_ encoder: VisionTransformer, masks: MaskChoice, layers: Int, beta: Double, decay: Teacher.Decay) throws {
        guard layers >= 1, layers <= encoder.transformer.depth else {
            throw MRPError(.argument, "teacher_layers \(layers) is outside 1 ... \(encoder.transformer.depth), the encoder's depth")
        }
        student = MaskTokenStudent(encoder: encoder, name: Self.name, outputs: encoder.transformer.width, masks: masks)
        teacher = Teacher(encoder: encoder, decay: decay)
        self.layers = layers
        self.beta = beta
    }

    public var settings: [(key: String, value: JSON)] { [] }

    public func parameters() -> [ParameterSpecification] { student.parameters + teacher.parameters }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = MaskedAutoencoder.images(graph, student.encoder.geometry, batch: batch)
        let prediction = try student.prediction(images, builder, batch: batch)
        let rows = graph.input(PatchMask.predictedInput, TensorType([batch, graph.shape(of: prediction)[1]], .int32))
        var sum: Value?
        for block in try teacher.blocks(images, builder).suffix(layers) {
            let normed = try builder.normed(builder.gather(block, ids: rows))
            sum = try sum.map { try graph.apply(Add(), [$0, normed])[0] } ?? normed
        }
        guard let sum else { throw MRPError(.internalError, "data2vec without layers") }
        let target = try builder.normed(graph.apply(Scale(1 / Double(layers)), [sum])[0])
        return try graph.apply(SmoothL1(beta: beta), [prediction, target])[0]
    }

    public func prepare(_ step: ObjectiveStep, _ executor: Executor) throws -> Bool { try student.prepare(step, executor) }

    public var averages: [MovingAverage.Pair] { teacher.averages }
    public func averageDecay(fraction: Double) -> Double { teacher.decay.value(fraction: fraction) }
}
