import MRPEngine
import MRPModels

/// The teacher-student objective whose theory arXiv 2206.03826 gives ("Towards Understanding Why Mask-Reconstruction Pretraining Helps in
/// Downstream Tasks", section 3), on a real encoder; `MRPLab` studies it on the paper's two-layer network, whose features are sums over
/// patches.
///
/// - The student sees the image with the pixels of hidden patches zero.
/// - The target is the teacher's features of the whole image at every place, layer normed without scale and shift.
/// - The loss is the mean squared error; a decoder of one linear layer predicts them. The teacher follows as a moving average.
public struct TeacherStudent: PretrainingObjective {
    public static let name = "teacher_student"

    public let encoder: VisionTransformer
    public let masks: MaskChoice
    public let teacher: Teacher

    public init(_ encoder: VisionTransformer, masks: MaskChoice, decay: Teacher.Decay) {
        self.encoder = encoder
        self.masks = masks
        teacher = Teacher(encoder: encoder, decay: decay)
    }

    public var settings: [(key: String, value: JSON)] { [] }

    public func parameters() -> [ParameterSpecification] {
        let width = encoder.transformer.width
        let decoder = [
            ParameterSpecification(Self.name + ".head.weight", [width, width], .xavierUniform),
            ParameterSpecification(Self.name + ".head.bias", [width], .zeros),
        ]
        return decoder + teacher.parameters
    }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, geometry) = (builder.graph, encoder.geometry)
        let images = MaskedAutoencoder.images(graph, geometry, batch: batch)
        let kept = graph.input(PatchMask.keptInput, TensorType([batch, geometry.count], .int32))
        let blocks = try encoder.encode(images, kept: kept, builder)
        let tokens = try builder.layerNorm("norm", blocks[blocks.count - 1])
        try builder.watchFeatures(tokens)
        let patches = try graph.constant(indices: (1...Int32(geometry.count)).map { $0 })
        let prediction = try builder.linear(Self.name + ".head", builder.gather(tokens, ids: patches))
        let target = try builder.normed(builder.gather(teacher.tokens(images, builder), ids: patches))
        return try graph.apply(MeanSquaredError(), [prediction, target])[0]
    }

    public func prepare(_ step: ObjectiveStep, _ executor: Executor) throws -> Bool {
        guard let mask = try masks.mask(step, encoder.geometry) else { return false }
        mask.fill(executor)
        return true
    }

    public var averages: [MovingAverage.Pair] { teacher.averages }
    public func averageDecay(fraction: Double) -> Double { teacher.decay.value(fraction: fraction) }
}
