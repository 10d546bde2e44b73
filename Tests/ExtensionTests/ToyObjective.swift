import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// Predicts the mean colour of an image, times an option, from its pooled features.
struct MeanColour: PretrainingObjective {
    static let name = "mean_colour"
    static let scale = Option(
        "colour_scale", .number(0.1...10), default: 1, section: .objective, "Factor of the colours that mean_colour predicts.")

    static let descriptor = ObjectiveDescriptor(
        name, source: "a test", usualMasks: MaskChoice(.random, ratio: 0.5), options: [scale],
        make: { MeanColour(encoder: $0.encoder, scale: $0.options[scale]) })

    let encoder: any ImageEncoder
    let scale: Double

    var takesMasks: Bool { false }

    func parameters() -> [ParameterSpecification] {
        linearParameters(Self.name + ".head", from: encoder.featureWidth, to: encoder.geometry.channels)
    }

    func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        let graph = builder.graph
        let images = Inputs.images(graph, encoder.geometry, batch: batch)
        let features = try encoder.pooled(encoder.features(images, layer: nil, pooling: nil, builder), builder)
        let pixels = try graph.apply(ExtractPatches(PatchGeometry(pixelsOf: encoder.geometry), order: .channelsLast), [images, nil])[0]
        let colour = try graph.apply(Scale(scale), graph.apply(MeanTokens(first: 0), [pixels]))[0]
        return try graph.apply(MeanSquaredError(), [builder.linear(Self.name + ".head", features), colour])[0]
    }

    func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool { true }
}
