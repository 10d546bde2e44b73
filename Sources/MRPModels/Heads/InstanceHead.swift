import MRPEngine

/// Masks of objects, whatever their class, on a grid of cells (Wang et al. 2020, "SOLOv2: Dynamic and Fast Instance Segmentation", with one grid):
/// each cell says whether an object has its centre there, and makes the kernel that tells this object's pixels from all others. A branch may say
/// which pixels belong to any object (Xue et al. 2022, arXiv 2208.09023).
///
/// - The maps of a feature pyramid are enlarged to the finest and added; with two coordinates a 3 x 3 convolution, batch norm, ReLU, and a linear
///   layer make `maskChannels` features of each place.
/// - The pyramid's map of the cells, with two coordinates, goes through a 3 x 3 convolution, batch norm and ReLU; linear layers make an objectness
///   and a kernel with bias of each cell. The mask of a cell is where features . kernel + bias is above 0.
public struct InstanceHead: Head, Equatable {
    public static let name = "instances"

    public let pyramid: FeaturePyramid
    /// Pixels of a cell's side that are wanted; of the pyramid's maps the nearest is the grid.
    public let gridStride: Int
    public let maskChannels: Int
    public let hasForeground: Bool

    public static let strides = 1...1_024
    public static let channels = 1...1_024

    /// Names of its weights in files.
    public static let names =
        FeaturePyramid.names
        + [
            "map.conv", "map.norm", "features", "cell.conv", "cell.norm", "objectness", "kernel", "foreground.conv", "foreground.norm",
            "foreground.score",
        ].map { NameRow("instance_head." + $0) }

    /// Errors: `.argument`.
    public init(pyramid: FeaturePyramid, gridStride: Int, maskChannels: Int, hasForeground: Bool) throws {
        for (name, value, range) in [("grid_stride", gridStride, Self.strides), ("mask_channels", maskChannels, Self.channels)]
        where !range.contains(value) {
            throw MRPError(.argument, "\(name) \(value) is outside \(range.lowerBound) ... \(range.upperBound)")
        }
        (self.pyramid, self.gridStride, self.maskChannels, self.hasForeground) = (pyramid, gridStride, maskChannels, hasForeground)
    }

    public var isDense: Bool { true }
    /// Ground and object.
    public var classes: Int { 2 }

    public var settings: [(key: String, value: JSON)] {
        [
            ("classes", .integer(classes)), ("pyramid_width", .integer(pyramid.width)), ("grid_stride", .integer(gridStride)),
            ("mask_channels", .integer(maskChannels)), ("foreground", .bool(hasForeground)),
        ]
    }

    private var foregroundWidth: Int { max(pyramid.width / 2, 1) }

    public func parameters(on encoder: any ImageEncoder) throws -> [ParameterSpecification] {
        let width = pyramid.width
        var list = try pyramid.parameters(on: encoder)
        func add(_ name: String, from channels: Int, to outputs: Int) {
            list.append(FeaturePyramid.convolution("instance_head.\(name).conv", from: channels, to: outputs, kernel: 3))
            list += batchNormParameters("instance_head.\(name).norm", width: outputs)
        }
        func linear(_ name: String, from channels: Int, to outputs: Int, rare: Bool = false) {
            let start: [Initializer] = rare ? [.normal(std: 0.01), .constant(Self.rareLogit)] : [.xavierUniform, .zeros]
            list.append(ParameterSpecification("instance_head.\(name).weight", [outputs, channels], start[0]))
            list.append(ParameterSpecification("instance_head.\(name).bias", [outputs], start[1], role: .bias))
        }
        add("map", from: width + 2, to: width)
        linear("features", from: width, to: maskChannels)
        add("cell", from: width + 2, to: width)
        linear("objectness", from: width, to: 1, rare: true)
        linear("kernel", from: width, to: maskChannels + 1)
        if hasForeground {
            add("foreground", from: width, to: foregroundWidth)
            linear("foreground.score", from: foregroundWidth, to: 1)
        }
        return list
    }

    /// The logit of 0.01 (Lin et al. 2017): few cells have an object.
    static let rareLogit = -4.595119850134590

    /// Outputs of the network for images.
    public struct Answer {
        /// Logits [B, cells].
        public let objectness: Value
        /// Kernels with the bias last, [B, cells, maskChannels + 1].
        public let kernels: Value
        /// Features of the masks, [B, places, maskChannels].
        public let features: FeatureMap
        /// Logits [B, places]; nil without that branch.
        public let foreground: Value?
        public let grid: (rows: Int, columns: Int)

        public var cells: Int { grid.rows * grid.columns }
        public var places: Int { features.height * features.width }
    }

    public func answer(
        _ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder, encoderBuilder: NetworkBuilder? = nil
    ) throws -> Answer {
        let (graph, batch) = (builder.graph, builder.graph.shape(of: images)[0])
        let maps = try pyramid.maps(images, of: encoder, builder, encoderBuilder: encoderBuilder)
        let fine = try block("map", Self.located(FeaturePyramid.sum(maps, graph), graph), builder)
        var features = fine
        features.value = try builder.linear("instance_head.features", fine.value)
        let coarse = try block("cell", Self.located(gridMap(maps, encoder.geometry), graph), builder)
        let objectness = try builder.linear("instance_head.objectness", coarse.value)
        var foreground: Value?
        if hasForeground {
            let inner = try block("foreground", fine, builder)
            let scores = try builder.linear("instance_head.foreground.score", inner.value)
            foreground = try graph.apply(Reshape([batch, fine.height * fine.width]), [scores])[0]
        }
        return Answer(
            objectness: try graph.apply(Reshape([batch, coarse.height * coarse.width]), [objectness])[0],
            kernels: try builder.linear("instance_head.kernel", coarse.value), features: features, foreground: foreground,
            grid: (coarse.height, coarse.width))
    }

    /// Rows and columns of the cells, and of a map of the masks.
    public func sizes(on encoder: any ImageEncoder) throws -> (grid: (rows: Int, columns: Int), map: (rows: Int, columns: Int)) {
        let graph = Graph()
        let builder = try NetworkBuilder(graph, Parameters(), epsilon: 1, companions: encoder.parameters() + parameters(on: encoder))
        let answer = try answer(Inputs.images(graph, encoder.geometry, batch: 1), of: encoder, builder)
        return (answer.grid, (answer.features.height, answer.features.width))
    }

    /// Mask logits [B, rows, places] of kernels [B, rows, maskChannels + 1].
    public static func masks(_ kernels: Value, _ features: FeatureMap, _ graph: Graph) throws -> Value {
        let ones = try Tensor([features.height * features.width, 1])
        ones.float32.update(repeating: 1)
        let wide = try graph.apply(AppendColumns(), [features.value, graph.constant(ones)])[0]
        return try graph.apply(BatchedProduct(transposeB: true), [kernels, wide])[0]
    }

    /// A 3 x 3 convolution, batch norm and ReLU.
    private func block(_ name: String, _ x: FeatureMap, _ builder: NetworkBuilder) throws -> FeatureMap {
        var y = try x.convolution(
            builder.weight("instance_head.\(name).conv.weight"), kernel: 3, stride: 1, visible: nil, builder.graph)
        y.value = try builder.batchNorm("instance_head.\(name).norm", y.value, .relu, epsilon: FeaturePyramid.epsilon)
        return y
    }

    /// Row and column of each place behind its features, from -1 to 1.
    private static func located(_ map: FeatureMap, _ graph: Graph) throws -> FeatureMap {
        let coordinates = try Tensor([map.height * map.width, 2])
        func place(_ index: Int, _ count: Int) -> Float { count > 1 ? 2 * Float(index) / Float(count - 1) - 1 : 0 }
        for index in 0..<map.height * map.width {
            coordinates.float32[2 * index] = place(index / map.width, map.height)
            coordinates.float32[2 * index + 1] = place(index % map.width, map.width)
        }
        var result = map
        result.value = try graph.apply(AppendColumns(), [map.value, graph.constant(coordinates)])[0]
        return result
    }

    /// The map whose places are nearest to `gridStride` pixels, of equally near ones the finer.
    private func gridMap(_ maps: [FeatureMap], _ geometry: PatchGeometry) -> FeatureMap {
        func distance(_ map: FeatureMap) -> Double {
            let stride = Double(geometry.height) / Double(map.height), wanted = Double(gridStride)
            return max(stride / wanted, wanted / stride)
        }
        return maps.dropFirst().reduce(maps[0]) { distance($1) < distance($0) ? $1 : $0 }
    }

    public func outputs(_ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder) throws -> Value {
        throw MRPError(
            .unsupported, "a network of instances has several outputs, from which they are found: it is not exported as one graph")
    }
}
