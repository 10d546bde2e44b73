import MRPEngine
import MRPModels

/// The teacher-student objective whose theory arXiv 2206.03826 gives ("Towards Understanding Why Mask-Reconstruction Pretraining Helps in
/// Downstream Tasks", section 3), on a real encoder; `MRPLab` studies it on the paper's two-layer network, whose features are sums over
/// patches.
///
/// - The student sees the image with the pixels of hidden patches zero.
/// - The target is the teacher's features of the whole image at every place, normed without scale and shift (`Teacher.Norm`).
/// - The loss is the mean squared error; a decoder of one linear layer predicts them. The teacher follows as a moving average.
public struct TeacherStudent: TaughtObjective {
    public static let name = "teacher_student"

    public let encoder: any ImageEncoder
    public let masks: MaskChoice
    public let teacher: Teacher

    /// Throws when the images of a convolutional network are not made of cells.
    public init(_ encoder: any ImageEncoder, masks: MaskChoice, teacher: Teacher) throws {
        try encoder.checkMaskable()
        self.encoder = encoder
        self.masks = masks
        self.teacher = teacher
    }

    public func parameters() -> [ParameterSpecification] {
        linearParameters(Self.name + ".head", from: encoder.featureWidth, to: encoder.featureWidth) + teacher.parameters
    }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let (graph, geometry) = (builder.graph, encoder.geometry)
        let images = Inputs.images(graph, geometry, batch: batch)
        let masked = try PatchMask.zeroed(images, geometry, visibleCount: masks.visibleCount(geometry), graph)
        let tokens = try encoder.features(masked, layer: nil, pooling: nil, builder)
        try builder.watchFeatures(tokens, of: encoder)
        let prediction = try builder.linear(Self.name + ".head", places(tokens, builder))
        let target = try teacher.target(places(teacher.tokens(images, builder), builder), builder)
        return try graph.apply(MeanSquaredError(), [prediction, target])[0]
    }

    /// The tokens without a class token.
    private func places(_ tokens: Value, _ builder: NetworkBuilder) throws -> Value {
        guard encoder.hasClassToken else { return tokens }
        let rows = 1..<Int32(builder.graph.shape(of: tokens)[1])
        return try builder.gather(tokens, ids: builder.graph.constant(indices: Array(rows)))
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { try masks.prepare(step, encoder.geometry, program) }
}

extension TeacherStudent {
    public static let descriptor = ObjectiveDescriptor(
        name, source: "arXiv 2206.03826", usualMasks: MaskChoice(.random, ratio: 0.5), usualTeacherDecay: Teacher.Decay(0.99, 0.9999),
        make: { try TeacherStudent($0.encoder, masks: $0.masks, teacher: $0.teacher()) })
}
