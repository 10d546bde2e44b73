import MRPEngine
import MRPModels

/// The student that SimMIM, MaskFeat, BEiT and data2vec share: it sees every place of the image, with a learned mask token where a patch is
/// hidden, and a linear layer on its final norm predicts something at the hidden places.
public struct MaskTokenStudent: Equatable, Sendable {
    public let encoder: VisionTransformer
    /// Begins the names of the weights.
    let name: String
    /// Numbers that are predicted for a patch.
    let outputs: Int
    public let masks: MaskChoice

    var parameters: [ParameterSpecification] {
        let width = encoder.transformer.width
        return [
            ParameterSpecification(name + ".mask_token", [width], .normal(deviation: 0.02), storedShape: [1, 1, width]),
            ParameterSpecification(name + ".head.weight", [outputs, width], .xavierUniform),
            ParameterSpecification(name + ".head.bias", [outputs], .zeros),
        ]
    }

    /// Predictions [B, M, outputs] at the hidden patches of the images.
    func prediction(_ images: Value, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let kept = graph.input(PatchMask.keptInput, TensorType([batch, encoder.geometry.count], .int32))
        let rows = graph.input(PatchMask.predictedInput, TensorType([batch, try masks.hiddenCount(encoder.geometry)], .int32))
        let blocks = try encoder.encode(images, kept: kept, maskToken: builder.weight(name + ".mask_token"), builder)
        let tokens = try builder.layerNorm("norm", blocks[blocks.count - 1])
        try builder.watchFeatures(tokens)
        return try builder.linear(name + ".head", builder.gather(tokens, ids: rows))
    }

    /// The hidden patches [B, M], as indices.
    func hidden(_ graph: Graph, batch: Int) throws -> Value {
        graph.input(PatchMask.hiddenInput, TensorType([batch, try masks.hiddenCount(encoder.geometry)], .int32))
    }

    func prepare(_ step: ObjectiveStep, _ executor: Executor) throws -> Bool {
        guard let mask = try masks.mask(step, encoder.geometry) else { return false }
        mask.fill(executor)
        return true
    }
}

/// Which patches an objective hides: a pattern and a share.
public struct MaskChoice: Equatable, Sendable {
    public let pattern: MaskPattern
    public let ratio: Double

    public init(_ pattern: MaskPattern, ratio: Double) {
        self.pattern = pattern
        self.ratio = ratio
    }

    /// Patches that stay visible; throws when a share leaves none, or hides none.
    public func visibleCount(_ geometry: PatchGeometry) throws -> Int { try PatchMask.visibleCount(patches: geometry.count, ratio: ratio) }

    func hiddenCount(_ geometry: PatchGeometry) throws -> Int { try geometry.count - visibleCount(geometry) }

    /// The masks of a step: the caller's, or those of the pattern; nil when the caller stops the run.
    func mask(_ step: ObjectiveStep, _ geometry: PatchGeometry) throws -> PatchMask? {
        let visible = try visibleCount(geometry)
        guard step.masking == nil else {
            return try PatchMask.of(step, count: geometry.count, visibleCount: visible, rule: "mask_ratio \(ratio)")
        }
        return try pattern.mask(geometry, visibleCount: visible, batch: step.batch, seed: step.seed, step: step.step)
    }
}

extension NetworkBuilder {
    public static let featuresMark = "features"

    /// Lets the trainer watch these tokens [B, 1 + K, D] for collapse: their mean over patches, [B, D], is marked.
    func watchFeatures(_ tokens: Value) throws {
        graph.mark(try graph.apply(MeanTokens(first: 1), [tokens])[0], as: Self.featuresMark)
    }

    /// Layer norm without scale and shift, epsilon 1e-5: how teachers' features become targets.
    func normed(_ x: Value) throws -> Value {
        let width = graph.type(of: x).width
        let (ones, zeros) = (try Tensor([width]), try Tensor([width]))
        ones.float32.update(repeating: 1)
        return try graph.apply(LayerNorm(epsilon: 1e-5), [x, graph.constant(ones), graph.constant(zeros)])[0]
    }
}
