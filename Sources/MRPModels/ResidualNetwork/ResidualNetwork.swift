import MRPEngine

/// The residual networks of He et al. 2016 ("Deep Residual Learning for Image Recognition") with torchvision's parameter names,
/// initialisation and details (a bottleneck strides in its 3 x 3 convolution; projections where shapes change).
///
/// Inside, images are channels last: [B, H W, C].
public struct ResidualNetwork: Equatable, Sendable {
    public struct Size: Equatable, Sendable {
        public let name: String
        public let blocks: [Int]
        public let hasBottlenecks: Bool
    }

    public static let sizes = [
        Size(name: "resnet18", blocks: [2, 2, 2, 2], hasBottlenecks: false),
        Size(name: "resnet34", blocks: [3, 4, 6, 3], hasBottlenecks: false),
        Size(name: "resnet50", blocks: [3, 4, 6, 3], hasBottlenecks: true),
        Size(name: "resnet101", blocks: [3, 4, 23, 3], hasBottlenecks: true),
    ]

    public let size: Size
    public let stem: Stem
    /// Channels of the stem and of the first stage, 64 in the paper.
    public let baseWidth: Int
    public let geometry: PatchGeometry
    public let epsilon = 1e-5

    /// `cellSize`: side of the cells of a mask in pixels, a multiple of the network's downsampling (nil: just that).
    public init(
        _ size: Size, stem: Stem, baseWidth: Int = 64, channels: Int, height: Int, width: Int, cellSize: Int? = nil
    ) throws {
        self.size = size
        self.stem = stem
        self.baseWidth = try Self.check(baseWidth: baseWidth)
        geometry = try Self.geometry(
            channels: channels, height: height, width: width, downsampling: Self.downsampling(stem), cellSize: cellSize)
    }

    // MARK: The plan: one description of every layer, from which weights and graph are made

    /// A convolution without bias and padding of half its kernel, and the batch norm after it.
    public struct Layer {
        public let name: String
        public let norm: String
        public let input: Int
        public let output: Int
        public let kernel: Int
        public let stride: Int

        var specifications: [ParameterSpecification] {
            let fan = Double(output * kernel * kernel)
            return [
                // Kaiming normal, fan out, gain of ReLU.
                ParameterSpecification(
                    name + ".weight", [output, input, kernel, kernel], .normal(std: (2 / fan).squareRoot()))
            ] + batchNormParameters(norm, width: output)
        }
    }

    public struct Block {
        public let layers: [Layer]
        public let projection: Layer?
    }

    var expansion: Int { size.hasBottlenecks ? 4 : 1 }

    public var stemLayer: Layer {
        Layer(
            name: "conv1", norm: "bn1", input: geometry.channels, output: baseWidth, kernel: stem == .imagenet ? 7 : 3,
            stride: stem == .imagenet ? 2 : 1)
    }

    /// Stage by stage.
    public var stages: [[Block]] {
        var input = baseWidth
        return size.blocks.enumerated().map { stage, count in
            let middle = baseWidth << stage
            let output = middle * expansion
            return (0..<count).map { index in
                let name = "layer\(stage + 1).\(index)"
                let stride = index == 0 && stage > 0 ? 2 : 1
                let shapes =
                    size.hasBottlenecks
                    ? [(input, middle, 1, 1), (middle, middle, 3, stride), (middle, output, 1, 1)]
                    : [(input, middle, 3, stride), (middle, middle, 3, 1)]
                let layers = shapes.enumerated().map { number, shape in
                    Layer(
                        name: "\(name).conv\(number + 1)", norm: "\(name).bn\(number + 1)", input: shape.0, output: shape.1,
                        kernel: shape.2, stride: shape.3)
                }
                let changes = stride != 1 || input != output
                let projection = Layer(
                    name: "\(name).downsample.0", norm: "\(name).downsample.1", input: input, output: output, kernel: 1, stride: stride)
                defer { input = output }
                return Block(layers: layers, projection: changes ? projection : nil)
            }
        }
    }

    // MARK: The graph

    private func apply(
        _ layer: Layer, _ x: FeatureMap, _ activation: BatchNorm.Activation, residual: Value? = nil, visible: VisibleCells?,
        _ builder: NetworkBuilder
    ) throws -> FeatureMap {
        let weight = try builder.weight(layer.name + ".weight")
        var result = try x.convolution(weight, kernel: layer.kernel, stride: layer.stride, visible: visible, builder.graph)
        result.value = try builder.batchNorm(layer.norm, result.value, activation, residual: residual)
        return result
    }

    private func apply(_ block: Block, _ x: FeatureMap, visible: VisibleCells?, _ builder: NetworkBuilder) throws -> FeatureMap {
        let shortcut = try block.projection.map { try apply($0, x, .none, visible: visible, builder) } ?? x
        var inner = x
        for (index, layer) in block.layers.enumerated() {
            let residual = index == block.layers.count - 1 ? shortcut.value : nil
            inner = try apply(layer, inner, .relu, residual: residual, visible: visible, builder)
        }
        return inner
    }

    private func applyStem(_ pixels: FeatureMap, visible: VisibleCells?, _ builder: NetworkBuilder) throws -> FeatureMap {
        let x = try apply(stemLayer, pixels, .relu, visible: visible, builder)
        guard stem == .imagenet else { return x }
        let rows = try Window(x.height, kernel: 3, stride: 2, padding: 1)
        let columns = try Window(x.width, kernel: 3, stride: 2, padding: 1)
        let inputs = try Pool.inputs(x.value, from: visible?.places(height: x.height), to: visible?.places(height: rows.outputSize))
        let pooled = try builder.graph.apply(Pool(.maximum, rows: rows, columns: columns), inputs)[0]
        return FeatureMap(value: pooled, height: rows.outputSize, width: columns.outputSize)
    }

    public func stages(_ images: Value, last: Int, visible: VisibleCells?, _ builder: NetworkBuilder) throws -> [FeatureMap] {
        let pixels = try pixels(images, visible: visible, builder.graph)
        var x = try builder.graph.segment { try applyStem(pixels, visible: visible, builder) }
        return try stages.prefix(last).map { blocks in
            for block in blocks { x = try builder.graph.segment { try apply(block, x, visible: visible, builder) } }
            return x
        }
    }
}

extension ResidualNetwork: SizedNetwork {
    public var downsampling: Int { Self.downsampling(stem) }
    public var stageWidths: [Int] { size.blocks.indices.map { (baseWidth << $0) * expansion } }
    public var usesLayerNorm: Bool { false }

    static func downsampling(_ stem: Stem) -> Int { stem == .imagenet ? 32 : 8 }

    public func parameters() -> [ParameterSpecification] {
        let blocks = stages.flatMap { $0 }
        return stemLayer.specifications
            + blocks.flatMap { ($0.layers + ($0.projection.map { [$0] } ?? [])).flatMap(\.specifications) }
    }

    /// 0 for the stem, 1 ... 4 for the stages, 5 for the head and a decoder.
    public func layer(of parameter: String) -> Int {
        if parameter.hasPrefix("layer"), let stage = parameter.dropFirst(5).first?.wholeNumberValue { return stage }
        return parameter.hasPrefix("conv1.") || parameter.hasPrefix("bn1.") ? 0 : depth + 1
    }

    /// torchvision's `fc`, which starts as every linear layer of torch does.
    public func classifierParameters(_ head: ClassifierHead) throws -> [ParameterSpecification] {
        try check(head.pooling)
        let start = Initializer.uniform(bound: 1 / Double(featureWidth).squareRoot())
        return [
            ParameterSpecification("fc.weight", [head.classes, featureWidth], start),
            ParameterSpecification("fc.bias", [head.classes], start, role: .bias),
        ]
    }

    public func classifierFeatures(_ images: Value, pooling: Pooling, _ builder: NetworkBuilder) throws -> Value {
        try pooled(features(images, layer: nil, pooling: pooling, builder), builder)
    }

    public func scores(_ features: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        try builder.linear("fc", features)
    }

    public func featureShape(layer: Int?) -> (tokens: Int, width: Int) {
        let stage = layer ?? depth
        // Every stride is 2 with a padding of half the kernel: sizes are halved, rounded up.
        let halvings = stage - 1 + (stem == .imagenet ? 2 : 0)
        let halved = { (size: Int) in (0..<halvings).reduce(size) { size, _ in (size + 1) / 2 } }
        return (halved(geometry.height) * halved(geometry.width), stageWidths[stage - 1])
    }
}
