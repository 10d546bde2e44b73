import MRPEngine
import MRPModels

/// Works out what a convolutional network is from the shapes of its weights, for files of torchvision, timm and SparK: they come without a
/// configuration of ours. What shapes cannot tell is the size of the images, which such a network takes in any size.
extension ShapeReader {
    func residual() throws -> ModelDescription {
        let first = try shape("conv1.weight", 4)
        guard let stem = [7: ResidualNetwork.Stem.imagenet, 3: .cifar][first[2]], first[2] == first[3] else {
            throw MRPError(
                .unsupported, "the first convolution is \(first[2]) x \(first[3]): 7 x 7 (stem imagenet) and 3 x 3 (stem cifar) are offered"
            )
        }
        let blocks = (1...4).map { weights.depth("layer\($0)") }
        let hasBottlenecks = weights.has("layer1.0.conv3.")
        guard let size = ResidualNetwork.sizes.first(where: { $0.blocks == blocks && $0.hasBottlenecks == hasBottlenecks }) else {
            let kind = hasBottlenecks ? "bottleneck" : "basic"
            throw MRPError(
                .unsupported,
                "a residual network of \(blocks.map(String.init).joined(separator: ", ")) \(kind) blocks is none of: \(Encoders.residualNames)"
            )
        }
        var notes: [String] = []
        let (height, width) = imageSize(stem, &notes)
        var result = ModelDescription(
            encoder: try ModelDescription.fromFile {
                try ResidualNetwork(size, stem: stem, baseWidth: first[0], channels: first[1], height: height, width: width)
            })
        if let classes = weights.shape("fc.weight")?.first {
            result.head = try ModelDescription.fromFile { try ClassifierHead(classes: classes, pooling: .mean) }
        }
        result.normalization = normalization(channels: first[1])
        result.notes = notes
        return result
    }

    /// ConvNeXt V2 as timm stores it.
    func convNeXt() throws -> ModelDescription {
        let first = try shape("stem.0.weight", 4)
        guard let stem = [4: ResidualNetwork.Stem.imagenet, 1: .cifar][first[2]], first[2] == first[3] else {
            throw MRPError(
                .unsupported, "the stem is \(first[2]) x \(first[3]): 4 x 4 (stem imagenet) and 1 x 1 (stem cifar) are offered")
        }
        let blocks = (0..<4).map { weights.depth("stages.\($0).blocks") }
        let fitting = ConvNeXt.sizes.filter { $0.blocks == blocks }
        guard let size = fitting.first(where: { $0.width == first[0] }) ?? fitting.first else {
            let names = ConvNeXt.sizes.map(\.name)
            throw MRPError(.unsupported, "ConvNeXt of \(blocks.map(String.init).joined(separator: ", ")) blocks is none of: \(names)")
        }
        guard weights.has("stages.0.blocks.0.mlp.grn.") else {
            throw MRPError(.unsupported, "the file holds a ConvNeXt without global response normalisation: V2 is offered")
        }
        var notes: [String] = []
        let (height, width) = imageSize(stem, &notes)
        var result = ModelDescription(
            encoder: try ModelDescription.fromFile {
                try ConvNeXt(size, stem: stem, baseWidth: first[0], channels: first[1], height: height, width: width)
            })
        if let classes = weights.shape("head.fc.weight")?.first {
            result.head = try ModelDescription.fromFile { try ClassifierHead(classes: classes, pooling: .mean) }
        }
        result.normalization = normalization(channels: first[1])
        result.notes = notes
        return result
    }

    /// That of the options, or of timm's configuration, or the usual one.
    private func imageSize(_ stem: ResidualNetwork.Stem, _ notes: inout [String]) -> (height: Int, width: Int) {
        if let height = options.given(NetworkOptions.imageHeight), let width = options.given(NetworkOptions.imageWidth) {
            return (height, width)
        }
        if let size = pretrained["input_size"]?.array?.compactMap(\.integer), size.count == 3 { return (size[1], size[2]) }
        let usual = stem == .imagenet ? 224 : 32
        notes.append("images of \(usual) x \(usual) are assumed: the file does not say their size (option image_size)")
        return (usual, usual)
    }
}
