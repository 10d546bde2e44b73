import MRPEngine
import MRPModels
import MRPOptions

/// Masked image modelling with discrete tokens, as BEiT (Bao et al. 2022, "BEiT: BERT Pre-Training of Image Transformers", arXiv
/// 2106.08254) but with a tokenizer that is made here, from the user's own images: `PatchTokenizer` instead of DALL-E's.
///
/// - The student sees all places, mask tokens where patches are hidden; a convolutional network the visible cells (`MaskedStudent`).
/// - The target is the token of each hidden patch.
/// - The loss is the cross entropy of a linear layer's scores.
public struct BEiT: PretrainingObjective {
    public static let name = "beit"

    public let student: any MaskedStudent
    public let tokenizer: PatchTokenizer

    public init(_ encoder: any ImageEncoder, _ settings: StudentSettings, tokens: Int, normalizesPatches: Bool) throws {
        student = try settings.student(encoder, Self.name, outputs: tokens)
        tokenizer = PatchTokenizer(geometry: encoder.geometry, tokens: tokens, normalizes: normalizesPatches)
    }

    public func parameters() -> [ParameterSpecification] { student.parameters + tokenizer.parameters }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = Inputs.images(graph, student.geometry, batch: batch)
        let scores = try student.prediction(images, builder, batch: batch)
        let patches = try tokenizer.patches(images, ids: student.hidden(graph, batch: batch), graph)
        return try graph.apply(SoftmaxCrossEntropy(), [scores, tokenizer.tokens(of: patches, builder)])[0]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { try student.prepare(step, program) }
}

extension BEiT {
    /// Tokens of the tokenizer.
    public static let codebookSize = Option(
        "codebook_size", .integer(2...65_536), default: 512, section: .objective, "Tokens of beit's tokenizer.")

    public static let descriptor = ObjectiveDescriptor(
        name, source: "Bao et al. 2022", remark: "with tokens of the user's own images", usualMasks: MaskChoice(.block, ratio: 0.4),
        options: [codebookSize],
        make: { request in
            try BEiT(
                request.encoder, request.student(), tokens: request.options[codebookSize],
                normalizesPatches: request.options[ObjectiveOptions.normPixLoss])
        })

    /// The codebook; a fresh one is zero.
    public var measured: MeasuredWeights? {
        let tokenizer = tokenizer
        return MeasuredWeights(sampleSize: 4_096) { parameters in
            parameters[PatchTokenizer.codebook]?.float32.allSatisfy { $0 == 0 } ?? false
        } measure: { sample, parameters, backend, seed in
            guard let codebook = parameters[PatchTokenizer.codebook], let bias = parameters[PatchTokenizer.bias] else { return }
            let patches = try PatchClusters.sample(sample, tokenizer, backend: backend, seed: seed)
            try PatchClusters.fit(patches, into: codebook, bias, backend: backend, seed: seed)
        }
    }
}
