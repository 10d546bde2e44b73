import MRPEngine

/// The residual networks of He et al. 2016 ("Deep Residual Learning for Image Recognition") with torchvision's parameter names,
/// initialisation and details (a bottleneck strides in its 3 x 3 convolution; projections where shapes change).
///
/// Inside, images are channels last: [B, H W, C].
public struct ResidualNetwork: Equatable, Sendable {
    public enum Stem: String, CaseIterable, Sendable {
        /// 7 x 7 with stride 2, then a maximum over 3 x 3 with stride 2.
        case imagenet
        /// 3 x 3 with stride 1, for images of about 32 x 32.
        case cifar
    }

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

    public static let maximumBaseWidth = 4_096

    public let size: Size
    public let stem: Stem
    /// Channels of the stem and of the first stage, 64 in the paper.
    public let baseWidth: Int
    public let geometry: PatchGeometry
    public let epsilon = 1e-5

    public init(_ size: Size, stem: Stem, baseWidth: Int = 64, channels: Int, height: Int, width: Int) throws {
        guard baseWidth >= 1, baseWidth <= Self.maximumBaseWidth else {
            throw MRPError(.argument, "encoder width \(baseWidth) is outside 1 ... \(Self.maximumBaseWidth)")
        }
        self.size = size
        self.stem = stem
        self.baseWidth = baseWidth
        geometry = try PatchGeometry(channels: channels, height: height, width: width, patchHeight: 1, patchWidth: 1)
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
                    name + ".weight", [output, input, kernel, kernel], .normal(deviation: (2 / fan).squareRoot())),
                ParameterSpecification(norm + ".weight", [output], .ones), ParameterSpecification(norm + ".bias", [output], .zeros),
                ParameterSpecification(norm + ".running_mean", [output], .zeros, isTrainable: false),
                ParameterSpecification(norm + ".running_var", [output], .ones, isTrainable: false),
            ]
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

    /// Channels-last features and how large their images are.
    struct Map {
        var value: Value
        var height: Int
        var width: Int
    }

    private func apply(_ layer: Layer, _ x: Map, relu: Bool, residual: Value? = nil, _ builder: NetworkBuilder) throws -> Map {
        let padding = layer.kernel / 2
        let rows = try Window(x.height, kernel: layer.kernel, stride: layer.stride, padding: padding)
        let columns = try Window(x.width, kernel: layer.kernel, stride: layer.stride, padding: padding)
        let weight = try builder.weight(layer.name + ".weight")
        let convolved = try builder.graph.apply(
            Convolution(rows: rows, columns: columns), Convolution.inputs(x.value, weight: weight))[0]
        let normed = try builder.batchNorm(layer.norm, convolved, relu: relu, residual: residual)
        return Map(value: normed, height: rows.outputSize, width: columns.outputSize)
    }

    private func apply(_ block: Block, _ x: Map, _ builder: NetworkBuilder) throws -> Map {
        let shortcut = try block.projection.map { try apply($0, x, relu: false, builder) } ?? x
        var inner = x
        for (index, layer) in block.layers.enumerated() {
            let isLast = index == block.layers.count - 1
            inner = try apply(layer, inner, relu: true, residual: isLast ? shortcut.value : nil, builder)
        }
        return inner
    }

    /// The outputs of the stages 1 ... `last` of images [B, C, H, W].
    func stages(_ images: Value, last: Int, _ builder: NetworkBuilder) throws -> [Map] {
        let pixels = try builder.graph.apply(ExtractPatches(geometry, order: .channelsLast), [images, nil])[0]
        var x = try apply(stemLayer, Map(value: pixels, height: geometry.height, width: geometry.width), relu: true, builder)
        if stem == .imagenet {
            let rows = try Window(x.height, kernel: 3, stride: 2, padding: 1)
            let columns = try Window(x.width, kernel: 3, stride: 2, padding: 1)
            let pooled = try builder.graph.apply(Pool(.maximum, rows: rows, columns: columns), Pool.inputs(x.value))[0]
            x = Map(value: pooled, height: rows.outputSize, width: columns.outputSize)
        }
        return try stages.prefix(last).map { blocks in
            for block in blocks { x = try apply(block, x, builder) }
            return x
        }
    }
}

extension ResidualNetwork: ImageEncoder {
    public var featureWidth: Int { (baseWidth << (size.blocks.count - 1)) * expansion }
    public var depth: Int { size.blocks.count }
    public var hasClassToken: Bool { false }

    public func parameters() -> [ParameterSpecification] {
        let blocks = stages.flatMap { $0 }
        return stemLayer.specifications
            + blocks.flatMap { ($0.layers + ($0.projection.map { [$0] } ?? [])).flatMap(\.specifications) }
    }

    /// 0 for the stem, 1 ... 4 for the stages, 5 for the head.
    public func layer(of parameter: String) -> Int {
        if parameter.hasPrefix("layer"), let stage = parameter.dropFirst(5).first?.wholeNumberValue { return stage }
        return parameter.hasPrefix("fc.") ? depth + 1 : 0
    }

    /// torchvision's `fc`, which starts as every linear layer of torch does; near zero on a pretrained encoder.
    public func headParameters(_ head: ClassifierHead, onPretrained: Bool) throws -> [ParameterSpecification] {
        guard head.pooling == .mean else {
            throw MRPError(.argument, "pooling \(head.pooling) needs a class token, \(size.name) has none: use mean")
        }
        let start = Initializer.uniform(bound: 1 / Double(featureWidth).squareRoot())
        return [
            ParameterSpecification("fc.weight", [head.classes, featureWidth], onPretrained ? .normal(deviation: 2e-5) : start),
            ParameterSpecification("fc.bias", [head.classes], onPretrained ? .zeros : start),
        ]
    }

    public func logits(_ images: Value, _ head: ClassifierHead, _ builder: NetworkBuilder) throws -> Value {
        let last = try features(images, layer: 0, head: head, builder)
        return try builder.linear("fc", builder.graph.apply(MeanTokens(first: 0), [last])[0])
    }

    public func featureShape(layer: Int) -> (tokens: Int, width: Int) {
        let stage = layer == 0 ? depth : layer
        // Every stride is 2 with a padding of half the kernel: sizes are halved, rounded up.
        let halvings = stage - 1 + (stem == .imagenet ? 2 : 0)
        let halved = { (size: Int) in (0..<halvings).reduce(size) { size, _ in (size + 1) / 2 } }
        return (halved(geometry.height) * halved(geometry.width), (baseWidth << (stage - 1)) * expansion)
    }

    public func features(_ images: Value, layer: Int, head: ClassifierHead?, _ builder: NetworkBuilder) throws -> Value {
        let maps = try stages(images, last: layer == 0 ? depth : layer, builder)
        return maps[maps.count - 1].value
    }
}
