import MRPEngine

/// Maps of features of one width at several resolutions, the finest first: what dense prediction reads of an encoder. Its weights begin with
/// `fpn.`, in files too.
///
/// - A convolutional encoder has a feature pyramid network (Lin et al. 2017): a 1 x 1 convolution of each stage, to which the coarser map is
///   added, enlarged (nearest), then a 3 x 3 convolution for each; batch norm after each convolution, no biases, no activation.
/// - A vision transformer has the simple pyramid of ViTDet (Li et al. 2022): the last block's tokens, enlarged 4 and 2 times by transposed
///   convolutions, as they are, and halved by a maximum; then a 1 x 1 and a 3 x 3 convolution with layer norms for each.
public struct FeaturePyramid: Equatable, Sendable {
    /// Channels of every map.
    public let width: Int

    public static let widths = 1...4_096
    /// Epsilon of its batch norms, whatever the encoder's is.
    static let epsilon = 1e-5

    /// Names of its weights in files; `*` stands for a number.
    public static let names =
        ["fpn.lateral.*", "fpn.lateral_norm.*", "fpn.output.*", "fpn.output_norm.*", "fpn.scale.*.*"].map { NameRow($0) }

    /// Its width where nobody says one.
    public static func usualWidth(_ geometry: PatchGeometry) -> Int { min(geometry.height, geometry.width) < 64 ? 64 : 256 }

    /// Errors: `.argument`.
    public init(width: Int) throws {
        guard Self.widths.contains(width) else {
            throw MRPError(.argument, "pyramid_width \(width) is outside \(Self.widths.lowerBound) ... \(Self.widths.upperBound)")
        }
        self.width = width
    }

    /// Errors: `.unsupported` for an encoder of which no pyramid is known.
    public func parameters(on encoder: any ImageEncoder) throws -> [ParameterSpecification] {
        if let encoder = encoder.convolutionalEncoder { return parameters(on: encoder, coarsest: encoder.depth) }
        var list: [ParameterSpecification] = []
        for (level, scale) in try Self.scales(of: encoder).enumerated() {
            list += scale.parameters("fpn.scale.\(level)", width: encoder.featureWidth)
            add(level, from: scale.channels(encoder.featureWidth), { layerNormParameters($0, width: $1) }, to: &list)
        }
        return list
    }

    /// Those of the coarsest `count` maps of a convolutional encoder.
    public func parameters(on encoder: any ConvolutionalEncoder, coarsest count: Int) -> [ParameterSpecification] {
        var list: [ParameterSpecification] = []
        for (level, channels) in encoder.stageWidths.enumerated().suffix(count) {
            add(level, from: channels, { batchNormParameters($0, width: $1) }, to: &list)
        }
        return list
    }

    /// The convolutions of a level and their norms.
    private func add(
        _ level: Int, from channels: Int, _ norm: (String, Int) -> [ParameterSpecification], to list: inout [ParameterSpecification]
    ) {
        list.append(Self.convolution("fpn.lateral.\(level)", from: channels, to: width, kernel: 1))
        list += norm("fpn.lateral_norm.\(level)", width)
        list.append(Self.convolution("fpn.output.\(level)", from: width, to: width, kernel: 3))
        list += norm("fpn.output_norm.\(level)", width)
    }

    /// A convolution without bias, Xavier-uniform.
    static func convolution(_ name: String, from channels: Int, to width: Int, kernel: Int) -> ParameterSpecification {
        let bound = (6 / Double((channels + width) * kernel * kernel)).squareRoot()
        return ParameterSpecification(name + ".weight", [width, channels, kernel, kernel], .uniform(bound: bound))
    }

    /// Maps of images [B, C, H, W]. `encoderBuilder` builds the encoder, where its batch norms are not to be trained.
    public func maps(
        _ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder, encoderBuilder: NetworkBuilder? = nil
    ) throws -> [FeatureMap] {
        if let encoder = encoder.convolutionalEncoder {
            return try lateral(encoder.stages(images, last: encoder.depth, visible: nil, encoderBuilder ?? builder), builder)
        }
        let scales = try Self.scales(of: encoder)
        let (geometry, graph) = (encoder.geometry, builder.graph)
        let blocks = try encoder.layers(images, encoderBuilder ?? builder)
        let patches = try builder.gather(
            blocks[blocks.count - 1], ids: graph.constant(indices: (0..<Int32(geometry.count)).map { $0 + (encoder.hasClassToken ? 1 : 0) })
        )
        let tokens = FeatureMap(value: patches, height: geometry.gridHeight, width: geometry.gridWidth)
        return try scales.enumerated().map { level, scale in
            var x = try scale.map(tokens, "fpn.scale.\(level)", builder)
            for (name, kernel) in [("lateral", 1), ("output", 3)] {
                x = try x.convolution(builder.weight("fpn.\(name).\(level).weight"), kernel: kernel, stride: 1, visible: nil, graph)
                x.value = try builder.layerNorm("fpn.\(name)_norm.\(level)", x.value)
            }
            return x
        }
    }

    /// The maps enlarged (bilinear) to the finest, and added.
    static func sum(_ maps: [FeatureMap], _ graph: Graph) throws -> FeatureMap {
        var sum = maps[0]
        for map in maps.dropFirst() {
            let enlarged = try graph.apply(ResizeBilinear(from: (map.height, map.width), to: (sum.height, sum.width)), [map.value])[0]
            sum.value = try graph.apply(Add(), [sum.value, enlarged])[0]
        }
        return sum
    }

    /// From the coarsest stage to the finest.
    private func lateral(_ stages: [FeatureMap], _ builder: NetworkBuilder) throws -> [FeatureMap] {
        var maps: [FeatureMap] = []
        var coarser: FeatureMap?
        for (level, stage) in stages.enumerated().reversed() {
            let inner = try lateral(level, stage, coarser, builder)
            maps.insert(try output(level, inner, builder), at: 0)
            coarser = inner
        }
        return maps
    }

    /// Maps of a batch that lies part by part, the images of which read one map each: those of the first part the coarsest, those of the next the
    /// one that is finer, and so on. An image passes only the convolutions that its map is made of, and their norms see no others.
    public func maps(ofParts parts: [Int], _ stages: [FeatureMap], _ builder: NetworkBuilder) throws -> [FeatureMap] {
        var maps: [FeatureMap] = []
        var coarser: FeatureMap?
        var (first, rest) = (0, parts.reduce(0, +))
        for (level, count) in zip(stages.indices.reversed(), parts) {
            let stage = try stages[level].images(first, rest, builder.graph)
            let inner = try lateral(level, stage, coarser, builder)
            maps.append(try output(level, inner.images(0, count, builder.graph), builder))
            (first, rest) = (first + count, rest - count)
            coarser = rest > 0 ? try inner.images(count, rest, builder.graph) : nil
        }
        return maps
    }

    private func lateral(_ level: Int, _ stage: FeatureMap, _ coarser: FeatureMap?, _ builder: NetworkBuilder) throws -> FeatureMap {
        let graph = builder.graph
        let enlarged = try coarser.map {
            try graph.resizeNearest($0.value, from: ($0.height, $0.width), to: (stage.height, stage.width))
        }
        var x = try stage.convolution(builder.weight("fpn.lateral.\(level).weight"), kernel: 1, stride: 1, visible: nil, graph)
        x.value = try builder.batchNorm("fpn.lateral_norm.\(level)", x.value, residual: enlarged, epsilon: Self.epsilon)
        return x
    }

    private func output(_ level: Int, _ map: FeatureMap, _ builder: NetworkBuilder) throws -> FeatureMap {
        var x = try map.convolution(builder.weight("fpn.output.\(level).weight"), kernel: 3, stride: 1, visible: nil, builder.graph)
        x.value = try builder.batchNorm("fpn.output_norm.\(level)", x.value, epsilon: Self.epsilon)
        return x
    }

    /// The resolutions of a simple pyramid, the finest first. None is finer than the pixels.
    private static func scales(of encoder: any ImageEncoder) throws -> [TokenScale] {
        guard encoder.tokenEncoder != nil else {
            throw MRPError(
                .unsupported, "a \(encoder.family.name) has no feature pyramid: dense prediction needs residual, convnext or vit")
        }
        let geometry = encoder.geometry
        let finest = min(geometry.patchHeight, geometry.patchWidth)
        var scales = [TokenScale.fourfold, .twofold, .same].filter { $0.factor <= finest && encoder.featureWidth % $0.factor == 0 }
        if min(geometry.gridHeight, geometry.gridWidth) >= 2 { scales.append(.half) }
        return scales
    }
}

/// Tokens at another resolution, as ViTDet makes them.
private enum TokenScale {
    case fourfold, twofold, same, half

    var factor: Int { self == .fourfold ? 4 : self == .twofold ? 2 : 1 }

    func channels(_ width: Int) -> Int { width / factor }

    func parameters(_ name: String, width: Int) -> [ParameterSpecification] {
        switch self {
        case .fourfold:
            return Self.doubling(name + ".0", width, width / 2) + layerNormParameters(name + ".1", width: width / 2)
                + Self.doubling(name + ".3", width / 2, width / 4)
        case .twofold: return Self.doubling(name + ".0", width, width / 2)
        case .same, .half: return []
        }
    }

    /// A transposed convolution of 2 x 2 with stride 2, which starts as torch's.
    private static func doubling(_ name: String, _ width: Int, _ outputs: Int) -> [ParameterSpecification] {
        let start = Initializer.uniform(bound: 1 / Double(4 * outputs).squareRoot())
        return [
            ParameterSpecification(name + ".weight", [width, outputs, 2, 2], start),
            ParameterSpecification(name + ".bias", [outputs], start, role: .bias),
        ]
    }

    func map(_ tokens: FeatureMap, _ name: String, _ builder: NetworkBuilder) throws -> FeatureMap {
        switch self {
        case .fourfold:
            var x = try Self.doubled(tokens, name + ".0", builder)
            x.value = try builder.graph.apply(Gelu(), [builder.layerNorm(name + ".1", x.value)])[0]
            return try Self.doubled(x, name + ".3", builder)
        case .twofold: return try Self.doubled(tokens, name + ".0", builder)
        case .same: return tokens
        case .half:
            let (rows, columns) = (try Window(tokens.height, kernel: 2, stride: 2), try Window(tokens.width, kernel: 2, stride: 2))
            let pooled = try builder.graph.apply(Pool(.maximum, rows: rows, columns: columns), Pool.inputs(tokens.value))[0]
            return FeatureMap(value: pooled, height: rows.outputSize, width: columns.outputSize)
        }
    }

    private static func doubled(_ x: FeatureMap, _ name: String, _ builder: NetworkBuilder) throws -> FeatureMap {
        let (rows, columns) = (try Window(2 * x.height, kernel: 2, stride: 2), try Window(2 * x.width, kernel: 2, stride: 2))
        let inputs = try [x.value, builder.weight(name + ".weight"), builder.weight(name + ".bias")]
        let value = try builder.graph.apply(TransposedConvolution(rows: rows, columns: columns), inputs)[0]
        return FeatureMap(value: value, height: rows.size, width: columns.size)
    }
}
