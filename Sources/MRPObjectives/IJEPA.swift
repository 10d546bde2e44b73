import MRPEngine
import MRPModels
import MRPOptions

/// I-JEPA (Assran et al. 2023, "Self-Supervised Learning from Images with a Joint-Embedding Predictive Architecture", arXiv 2301.08243).
///
/// - The student sees the patches of a context only.
/// - The target is the teacher's features of the whole image at the patches of four target blocks, normed without scale and shift
///   (`Teacher.Norm`).
/// - The loss is the smooth L1 error. A predictor, a narrow transformer, gets the context's features and, block by block, mask tokens with the
///   positions of the block. The teacher follows as a moving average.
///
/// The blocks of `TargetBlocks` differ from the paper's in one thing: they all have the same number of patches, and so have the contexts. The
/// class token is part of the context.
public struct IJEPA: TaughtObjective {
    public static let name = "ijepa"

    public let encoder: any TokenEncoder
    /// The predictor's size.
    public let predictor: TransformerConfiguration
    public let blocks: TargetBlocks
    /// Patches of a context.
    public let contextCount: Int
    public let teacher: Teacher
    public let beta: Double

    public init(
        _ encoder: any TokenEncoder, predictor: TransformerConfiguration, maskRatio: Double, beta: Double, teacher: Teacher
    ) throws {
        self.encoder = encoder
        self.predictor = predictor
        self.beta = beta
        blocks = try TargetBlocks(gridHeight: encoder.geometry.gridHeight, gridWidth: encoder.geometry.gridWidth)
        contextCount = try PatchMask.visibleCount(patches: encoder.geometry.count, ratio: maskRatio)
        self.teacher = teacher
        guard contextCount <= blocks.sureContext else {
            throw MRPError(
                .argument,
                "mask_ratio \(maskRatio) leaves a context of \(contextCount) patches, \(TargetBlocks.count) blocks of \(blocks.size) leave \(blocks.sureContext) of \(encoder.geometry.count)"
            )
        }
    }

    public func parameters() -> [ParameterSpecification] {
        let (width, inner, rows) = (encoder.featureWidth, predictor.width, 1 + encoder.geometry.count)
        let table = Initializer.sinCosPositions(gridHeight: encoder.geometry.gridHeight, gridWidth: encoder.geometry.gridWidth)
        var list = [
            ParameterSpecification(Self.name + ".mask_token", [inner], .normal(std: 0.02), role: .token, storedShape: [1, 1, inner]),
            ParameterSpecification(
                Self.name + ".pos_embed", [rows, inner], table, role: .position, storedShape: [1, rows, inner], isTrainable: false),
        ]
        list += linearParameters(Self.name + ".embed", from: width, to: inner)
        for index in 0..<predictor.depth {
            list += transformerBlockParameters("\(Self.name).blocks.\(index)", width: inner, hidden: predictor.hidden)
        }
        list += layerNormParameters(Self.name + ".norm", width: inner) + linearParameters(Self.name + ".head", from: inner, to: width)
        return list + teacher.parameters
    }

    /// Rows of the predictor's positions for the context, class token first, and one block; the block's rows in the teacher's output.
    private static func inputs(_ block: Int) -> (positions: String, rows: String) {
        ("predictor_positions_\(block)", "target_rows_\(block)")
    }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = Inputs.images(graph, encoder.geometry, batch: batch)
        let visible = graph.input(PatchMask.visibleInput, TensorType([batch, contextCount], .int32), filledBy: .masks)
        let positions = graph.input(PatchMask.positionsInput, TensorType([batch, contextCount + 1], .int32), filledBy: .masks)
        let context = try encoder.tokens(images, visible: (visible, positions), builder)
        try builder.watchFeatures(context, of: encoder)
        let embedded = try builder.linear(Self.name + ".embed", context)
        let features = try teacher.target(teacher.tokens(images, builder), builder)
        var sum: Value?
        for block in 0..<TargetBlocks.count {
            let rows = graph.input(Self.inputs(block).rows, TensorType([batch, blocks.size], .int32), filledBy: .masks)
            let target = try builder.gather(features, ids: rows)
            let loss = try graph.apply(SmoothL1(beta: beta), [predict(embedded, block: block, builder, batch: batch), target])[0]
            sum = try sum.map { try graph.apply(Add(), [$0, loss])[0] } ?? loss
        }
        guard let sum else { throw MRPError(.internalError, "I-JEPA without blocks") }
        return try graph.apply(Scale(1 / Double(TargetBlocks.count)), [sum])[0]
    }

    /// The features [B, size, D] of one target block.
    private func predict(_ context: Value, block: Int, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let (seen, hidden) = (1 + contextCount, blocks.size)
        let positions = graph.input(Self.inputs(block).positions, TensorType([batch, seen + hidden], .int32), filledBy: .masks)
        // Mask tokens follow the context's tokens.
        let ids = try graph.constant(indices: (0..<Int32(seen)) + [Int32](repeating: -1, count: hidden))
        var x = try builder.gather(
            context, ids: ids, fill: builder.weight(Self.name + ".mask_token"), table: builder.weight(Self.name + ".pos_embed"),
            tableIds: positions)
        for index in 0..<predictor.depth {
            x = try builder.transformerBlock("\(Self.name).blocks.\(index)", x, heads: predictor.heads)
        }
        let last = try graph.constant(indices: (Int32(seen)..<Int32(seen + hidden)).map { $0 })
        return try builder.linear(Self.name + ".head", builder.layerNorm(Self.name + ".norm", builder.gather(x, ids: last)))
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        guard step.masking == nil else {
            throw MRPError(
                .unsupported, "objective ijepa chooses a context and target blocks: masks of the caller's have no meaning for it")
        }
        for image in 0..<step.batch {
            var numbers = UniformNumbers(seed: step.seed, .multiBlockMask, step: step.step, place: step.slice.first + image)
            let targets = blocks.blocks(&numbers)
            let context = blocks.context(contextCount, without: targets, &numbers)
            try fill(program, image: image, context: context, targets: targets)
        }
        return true
    }

    /// Writes one image's context and targets, patch numbers, into the inputs of a compiled graph.
    public func fill(_ program: any Program, image: Int, context: [Int], targets: [[Int]]) throws {
        let rows = [0] + context.map { $0 + 1 }
        func write(_ values: [Int], _ name: String) throws {
            try program.withInput(name, as: Int32.self) { input in
                for (index, value) in values.enumerated() { input[image * values.count + index] = Int32(value) }
            }
        }
        try write(context, PatchMask.visibleInput)
        try write(rows, PatchMask.positionsInput)
        for (block, target) in targets.enumerated() {
            try write(target.map { $0 + 1 }, Self.inputs(block).rows)
            try write(rows + target.map { $0 + 1 }, Self.inputs(block).positions)
        }
    }
}

extension IJEPA {
    public static let descriptor = ObjectiveDescriptor(
        name, source: "Assran et al. 2023", usualMasks: MaskChoice(.multiBlock, ratio: 0.75), usualTeacherDecay: Teacher.Decay(0.996, 1),
        misfit: {
            $0.tokenEncoder == nil
                ? "needs a vision transformer as encoder: its predictor asks for single patches by their positions, a convolutional network learns a teacher's features by data2vec"
                : nil
        },
        make: { request in
            guard request.masks.pattern == .multiBlock else {
                throw MRPError(
                    .argument,
                    "objective ijepa predicts blocks: its mask_pattern is multi_block, \(request.masks.pattern.rawValue) has no blocks")
            }
            return try IJEPA(
                request.tokenEncoder(), predictor: request.options.decoder(), maskRatio: request.masks.ratio,
                beta: request.options[ObjectiveOptions.smoothL1Beta] ?? 1, teacher: request.teacher())
        })
}
