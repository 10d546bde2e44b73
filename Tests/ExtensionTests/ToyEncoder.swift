import MRPEngine
import MRPModels
import MRPOptions

/// Two linear layers on each patch.
struct PatchMLP: ImageEncoder {
    static let family = EncoderFamily(
        "patch MLP", sizes: ["patch_mlp_16"], summary: "Patch MLP of a test.", modelTypes: ["patch_mlp"],
        names: StoredNames([NameRow("first"), NameRow("second"), NameRow("head")]),
        make: { _, options in
            try PatchMLP(
                geometry: PatchGeometry(
                    channels: options[NetworkOptions.channels], height: options[NetworkOptions.imageHeight],
                    width: options[NetworkOptions.imageWidth], patchHeight: options[NetworkOptions.patchHeight],
                    patchWidth: options[NetworkOptions.patchWidth]))
        },
        read: { file in
            let image = try file.configuration.size(of: "image_size")
            let patch = try file.configuration.size(of: "patch_size")
            return try PatchMLP(
                geometry: PatchGeometry(
                    channels: file.configuration.integer(of: "num_channels"), height: image.height, width: image.width,
                    patchHeight: patch.height, patchWidth: patch.width))
        })

    let geometry: PatchGeometry
    var family: EncoderFamily { Self.family }
    var featureWidth: Int { 16 }
    var depth: Int { 2 }
    var epsilon: Double { 1e-6 }
    var hasClassToken: Bool { false }

    func configuration(head: (any Head)?, objective: (any PretrainingObjective)?) -> [(key: String, value: JSON)] {
        [
            ("model_type", .string("patch_mlp")), ("image_size", .array([.integer(geometry.height), .integer(geometry.width)])),
            ("patch_size", .array([.integer(geometry.patchHeight), .integer(geometry.patchWidth)])),
            ("num_channels", .integer(geometry.channels)),
        ]
    }

    func parameters() -> [ParameterSpecification] {
        linearParameters("first", from: geometry.patchValues, to: featureWidth)
            + linearParameters("second", from: featureWidth, to: featureWidth)
    }

    func layer(of parameter: String) -> Int { parameter.hasPrefix("first") ? 1 : parameter.hasPrefix("second") ? 2 : depth + 1 }

    func classifierParameters(_ head: ClassifierHead) throws -> [ParameterSpecification] {
        guard head.pooling == .mean else { throw MRPError(.argument, "pooling \(head.pooling) needs a class token") }
        return linearParameters("head", from: featureWidth, to: head.classes)
    }

    func classifierFeatures(_ images: Value, pooling: Pooling, _ builder: NetworkBuilder) throws -> Value {
        try pooled(features(images, layer: nil, pooling: pooling, builder), builder)
    }

    func scores(_ features: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        try builder.linear("head", features)
    }

    func featureShape(layer: Int?) -> (tokens: Int, width: Int) { (geometry.count, featureWidth) }

    func features(_ images: Value, layer: Int?, pooling: Pooling?, _ builder: NetworkBuilder) throws -> Value {
        try layers(images, builder)[(layer ?? depth) - 1]
    }

    func layers(_ images: Value, _ builder: NetworkBuilder) throws -> [Value] {
        let patches = try builder.graph.apply(ExtractPatches(geometry, order: .channelsFirst), [images, nil])[0]
        let first = try builder.linear("first", patches, gelu: true)
        return [first, try builder.linear("second", first, residual: first)]
    }
}
