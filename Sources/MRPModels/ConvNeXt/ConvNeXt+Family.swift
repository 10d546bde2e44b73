import MRPEngine

extension ConvNeXt {
    public static let sizeNames = sizes.map(\.name)
    public static let modelType = "convnextv2"

    public static let family = sizedFamily(
        "ConvNeXt", summary: "ConvNeXt V2: \(sizeNames.joined(separator: ", ")), as in timm.", names: names, infer: { try infer($0, &$1) })

    public var family: EncoderFamily { Self.family }
    public var sizeName: String { size.name }

    public init(named name: String, _ shape: NetworkShape) throws {
        guard let size = Self.sizes.first(where: { $0.name == name }) else {
            throw MRPError(.argument, "there is no ConvNeXt named '\(name)'")
        }
        try self.init(
            size, stem: shape.stem, baseWidth: shape.baseWidth, channels: shape.channels, height: shape.height, width: shape.width,
            cellSize: shape.cellSize)
    }

    private static var names: StoredNames {
        let outer = ["stem.*", "stages.*.downsample.*", "head.norm", "head.fc"]
        let inner = ["conv_dw", "norm", "mlp.fc1", "mlp.grn", "mlp.fc2"].map { "stages.*.blocks.*." + $0 }
        return StoredNames((outer + inner).map { NameRow($0) })
    }

    /// The network of a file of timm's.
    private static func infer(_ file: WeightFile, _ notes: inout [String]) throws -> ConvNeXt? {
        let weights = file.weights
        guard weights.has("stages.") else { return nil }
        let first = try file.shape("stem.0.weight", 4)
        guard let stem = [4: Stem.imagenet, 1: .cifar][first[2]], first[2] == first[3] else {
            throw MRPError(
                .unsupported, "the stem is \(first[2]) x \(first[3]): 4 x 4 (stem imagenet) and 1 x 1 (stem cifar) are offered")
        }
        let blocks = (0..<4).map { weights.depth(of: "stages.\($0).blocks") }
        let fitting = sizes.filter { $0.blocks == blocks }
        guard let size = fitting.first(where: { $0.width == first[0] }) ?? fitting.first else {
            throw MRPError(
                .unsupported, "ConvNeXt of \(blocks.map(String.init).joined(separator: ", ")) blocks is none of: \(sizeNames)")
        }
        guard weights.has("stages.0.blocks.0.mlp.grn.") else {
            throw MRPError(.unsupported, "the file holds a ConvNeXt without global response normalisation: V2 is offered")
        }
        try file.checkTimm(named: nil, activation: "gelu", pooling: "avg", assumed: "exact GELU, eps 1e-06", &notes)
        return try inferred(size.name, stem: stem, baseWidth: first[0], channels: first[1], file, &notes)
    }
}
