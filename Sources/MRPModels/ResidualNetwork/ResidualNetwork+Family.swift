import MRPEngine

extension ResidualNetwork {
    public static let sizeNames = sizes.map(\.name)
    public static let modelType = "resnet"

    public static let family = sizedFamily(
        "residual network", summary: "Residual networks: \(sizeNames.joined(separator: ", ")), as in torchvision.", names: names,
        infer: { try infer($0, &$1) })

    public var family: EncoderFamily { Self.family }
    public var sizeName: String { size.name }

    public init(named name: String, _ shape: NetworkShape) throws {
        guard let size = Self.sizes.first(where: { $0.name == name }) else {
            throw MRPError(.argument, "there is no residual network named '\(name)'")
        }
        try self.init(
            size, stem: shape.stem, baseWidth: shape.baseWidth ?? 64, channels: shape.channels, height: shape.height, width: shape.width,
            cellSize: shape.cellSize)
    }

    /// Stem, four stages of blocks of two or three layers, and classifier.
    private static var names: StoredNames {
        let inner = (1...3).flatMap { ["conv\($0)", "bn\($0)"] } + ["downsample.*"]
        let layers = (1...4).flatMap { stage in inner.map { "layer\(stage).*.\($0)" } }
        return StoredNames((["conv1", "bn1", "fc"] + layers).map { NameRow($0) })
    }

    /// The network of a file of torchvision, timm or SparK.
    private static func infer(_ file: WeightFile, _ notes: inout [String]) throws -> ResidualNetwork? {
        let weights = file.weights
        guard weights.has("conv1.") else { return nil }
        let first = try file.shape("conv1.weight", 4)
        guard let stem = [7: Stem.imagenet, 3: .cifar][first[2]], first[2] == first[3] else {
            throw MRPError(
                .unsupported, "the first convolution is \(first[2]) x \(first[3]): 7 x 7 (stem imagenet) and 3 x 3 (stem cifar) are offered"
            )
        }
        let blocks = (1...4).map { weights.depth(of: "layer\($0)") }
        let hasBottlenecks = weights.has("layer1.0.conv3.")
        guard let size = sizes.first(where: { $0.blocks == blocks && $0.hasBottlenecks == hasBottlenecks }) else {
            let kind = hasBottlenecks ? "bottleneck" : "basic"
            throw MRPError(
                .unsupported,
                "a residual network of \(blocks.map(String.init).joined(separator: ", ")) \(kind) blocks is none of: \(sizeNames)")
        }
        // The tags of torchvision's and of semi-supervised weights in old versions of timm.
        try file.checkTimm(
            named: ["", "tv_", "ssl_", "swsl_"].map { $0 + size.name }, activation: "relu", pooling: "avg",
            assumed: "ReLU, torchvision's strides, no blur (timm's resnetaa and resnetblur have the same shapes)", &notes)
        return try inferred(size.name, stem: stem, baseWidth: first[0], channels: first[1], file, &notes)
    }
}
