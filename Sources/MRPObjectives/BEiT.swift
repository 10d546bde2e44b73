import MRPEngine
import MRPModels

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
        let images = MaskedAutoencoder.images(graph, student.geometry, batch: batch)
        let scores = try student.prediction(images, builder, batch: batch)
        let patches = try tokenizer.patches(images, ids: student.hidden(graph, batch: batch), graph)
        return try graph.apply(SoftmaxCrossEntropy(), [scores, tokenizer.tokens(of: patches, builder)])[0]
    }

    public func prepare(_ step: ObjectiveStep, _ program: any Program) throws -> Bool { try student.prepare(step, program) }
}
