import MRPEngine

/// ConvNeXt V2 (Woo et al. 2023, "Co-designing and Scaling ConvNets with Masked Autoencoders") with timm's parameter names: patches as
/// stem, then blocks x + mlp(norm(depthwise 7 x 7 of x)) with global response normalisation inside the mlp; between stages a layer norm
/// and a 2 x 2 convolution with stride 2.
public struct ConvNeXt: Equatable, Sendable {
    public struct Size: Equatable, Sendable {
        public let name: String
        public let blocks: [Int]
        public let width: Int
        /// timm stores the mlp's matrices of the small sizes as 1 x 1 convolutions.
        let storesConvolutions: Bool
    }

    public static let sizes = [
        Size(name: "convnextv2_atto", blocks: [2, 2, 6, 2], width: 40, storesConvolutions: true),
        Size(name: "convnextv2_femto", blocks: [2, 2, 6, 2], width: 48, storesConvolutions: true),
        Size(name: "convnextv2_pico", blocks: [2, 2, 6, 2], width: 64, storesConvolutions: true),
        Size(name: "convnextv2_nano", blocks: [2, 2, 8, 2], width: 80, storesConvolutions: true),
        Size(name: "convnextv2_tiny", blocks: [3, 3, 9, 3], width: 96, storesConvolutions: false),
    ]

    public let size: Size
    /// imagenet: patches of 4 x 4; cifar: single pixels, for images of about 32 x 32.
    public let stem: Stem
    /// Channels of the first stage; the others double.
    public let baseWidth: Int
    public let geometry: PatchGeometry
    public let epsilon = 1e-6

    /// `cellSize`: side of the cells of a mask in pixels, a multiple of the network's downsampling (nil: just that).
    public init(
        _ size: Size, stem: Stem, baseWidth: Int? = nil, channels: Int, height: Int, width: Int, cellSize: Int? = nil
    ) throws {
        self.baseWidth = try Self.check(baseWidth: baseWidth ?? size.width)
        let downsampling = Self.patch(stem) * 8
        guard height >= downsampling, width >= downsampling else {
            throw MRPError(
                .argument,
                "images of \(height) x \(width) are too small for \(size.name), which halves them to \(downsampling) times smaller")
        }
        self.size = size
        self.stem = stem
        geometry = try Self.geometry(channels: channels, height: height, width: width, downsampling: downsampling, cellSize: cellSize)
    }

    private static func patch(_ stem: Stem) -> Int { stem == .imagenet ? 4 : 1 }

    private func block(_ name: String) -> ConvNeXtBlock { ConvNeXtBlock(name: name, storesConvolutions: size.storesConvolutions) }

    /// A convolution whose windows do not overlap.
    private func shrink(_ name: String, _ x: FeatureMap, by factor: Int, visible: VisibleCells?, _ builder: NetworkBuilder) throws
        -> FeatureMap
    {
        try x.convolution(
            builder.weight(name + ".weight"), bias: builder.weight(name + ".bias"), kernel: factor, stride: factor, padding: 0,
            visible: visible, builder.graph)
    }
}

extension ConvNeXt: SizedNetwork {
    public var downsampling: Int { 8 * Self.patch(stem) }
    public var stageWidths: [Int] { size.blocks.indices.map { baseWidth << $0 } }
    public var usesLayerNorm: Bool { true }
    public var droppableBlocks: Int { size.blocks.reduce(0, +) }

    public func parameters() -> [ParameterSpecification] {
        let patch = Self.patch(stem)
        var list = convNeXtLayer("stem.0", [baseWidth, geometry.channels, patch, patch]) + layerNormParameters("stem.1", width: baseWidth)
        for (stage, width) in stageWidths.enumerated() {
            let name = "stages.\(stage)"
            if stage > 0 {
                list += layerNormParameters(name + ".downsample.0", width: width / 2)
                list += convNeXtLayer(name + ".downsample.1", [width, width / 2, 2, 2])
            }
            for index in 0..<size.blocks[stage] { list += block("\(name).blocks.\(index)").parameters(width: width) }
        }
        return list
    }

    /// 0 for the stem, 1 ... 4 for the stages, 5 for the head and a decoder.
    public func layer(of parameter: String) -> Int {
        if parameter.hasPrefix("stages."), let stage = parameter.dropFirst(7).first?.wholeNumberValue { return stage + 1 }
        return parameter.hasPrefix("stem.") ? 0 : depth + 1
    }

    public func classifierParameters(_ head: ClassifierHead) throws -> [ParameterSpecification] {
        try check(head.pooling)
        return layerNormParameters("head.norm", width: featureWidth) + [
            ParameterSpecification("head.fc.weight", [head.classes, featureWidth], .normal(std: 0.02)),
            ParameterSpecification("head.fc.bias", [head.classes], .zeros, role: .bias),
        ]
    }

    public func classifierFeatures(_ images: Value, pooling: Pooling, _ builder: NetworkBuilder) throws -> Value {
        try builder.layerNorm("head.norm", pooled(features(images, layer: nil, pooling: pooling, builder), builder))
    }

    public func scores(_ features: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        try builder.linear("head.fc", features)
    }

    public func featureShape(layer: Int?) -> (tokens: Int, width: Int) {
        let stage = layer ?? depth
        let side = Self.patch(stem) << (stage - 1)
        return (geometry.height / side * (geometry.width / side), stageWidths[stage - 1])
    }

    /// The stem, or what leads from a stage to the next.
    private func enter(_ stage: Int, _ x: FeatureMap, visible: VisibleCells?, _ builder: NetworkBuilder) throws -> FeatureMap {
        var x = x
        if stage == 0 {
            x = try shrink("stem.0", x, by: Self.patch(stem), visible: visible, builder)
            x.value = try builder.layerNorm("stem.1", x.value)
        } else {
            x.value = try builder.layerNorm("stages.\(stage).downsample.0", x.value)
            x = try shrink("stages.\(stage).downsample.1", x, by: 2, visible: visible, builder)
        }
        return x
    }

    public func stages(_ images: Value, last: Int, visible: VisibleCells?, _ builder: NetworkBuilder) throws -> [FeatureMap] {
        var x = try pixels(images, visible: visible, builder.graph)
        return try (0..<last).map { stage in
            x = try builder.graph.segment { try enter(stage, x, visible: visible, builder) }
            let before = size.blocks.prefix(stage).reduce(0, +)
            for index in 0..<size.blocks[stage] {
                let block = block("stages.\(stage).blocks.\(index)")
                x = try builder.graph.segment { try block.apply(x, index: before + index, visible: visible, builder) }
            }
            return x
        }
    }
}
