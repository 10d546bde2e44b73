import MRPEngine
import MRPModels
import MRPOptions

/// Works out what a model is from the shapes of its weights, for files without a configuration that we know (timm, Meta's MAE). What
/// shapes cannot tell comes from options, or is assumed and noted.
struct ShapeReader {
    let weights: NamedWeights
    /// timm's `config.json`, or nothing.
    let json: JSON?
    let options: Options

    func shape(_ name: String, _ dimensions: Int) throws -> [Int] {
        guard let shape = weights.shape(name) else { throw MRPError(.format, "there is no configuration, and '\(name)' is missing") }
        guard shape.count == dimensions, shape.allSatisfy({ $0 > 0 }) else {
            let stored = weights.weights[name]?.first?.stored ?? name
            throw MRPError(.format, "there is no configuration, and '\(stored)' has shape \(shape) instead of \(dimensions) dimensions")
        }
        return shape
    }

    /// What timm says of the images that a network was trained on.
    var pretrained: JSON { json?["pretrained_cfg"] ?? json ?? .object([]) }

    func normalization(channels: Int) -> Normalization? {
        guard let mean = pretrained["mean"]?.array?.compactMap(\.number), let deviation = pretrained["std"]?.array?.compactMap(\.number),
            mean.count == channels, deviation.count == channels, deviation.allSatisfy({ $0 > 0 })
        else { return nil }
        return Normalization(mean: mean, std: deviation)
    }

    func description() throws -> ModelDescription {
        let patch = try shape("patch_embed.proj.weight", 4)
        let rows = try shape("pos_embed", 3)[1]
        let width = patch[0]
        var notes: [String] = []
        let geometry = try self.geometry(patch, count: rows - 1)
        var heads = options.given(NetworkOptions.heads)
        if heads == nil, let size = Encoders.sizes.first(where: { $0.width == width }) {
            heads = size.heads
            notes.append("\(size.heads) attention heads are assumed from the width \(width): the file does not say how many")
        }
        guard let heads else {
            throw MRPError(.argument, "the file does not say how many attention heads a width of \(width) has: set option heads")
        }
        let transformer = try ModelDescription.fromFile {
            try TransformerConfiguration(
                width: width, depth: weights.depth("blocks"), heads: heads, hidden: shape("blocks.0.mlp.fc1.weight", 2)[0])
        }
        var epsilon = weights.names == .timm ? 1e-6 : 1e-12
        if let given = options.given(NetworkOptions.layerNormEps) {
            epsilon = given
        } else {
            notes.append("layer_norm_eps \(epsilon) is assumed: the file does not say it")
        }
        let positions = weights.positions(geometry) ?? .sinCos
        var result = ModelDescription(
            encoder: VisionTransformer(geometry: geometry, transformer: transformer, epsilon: epsilon, positions: positions))
        if weights.has("decoder_") { result.decoder = try decoder(&notes) }
        if let classes = weights.shape("head.weight")?.first {
            let pooling: Pooling = weights.shape("fc_norm.weight") == nil ? .cls : .mean
            result.head = try ModelDescription.fromFile { try ClassifierHead(classes: classes, pooling: pooling) }
        }
        result.normalization = normalization(channels: geometry.channels)
        result.notes = notes
        return result
    }

    /// The grid is that of the options where it has as many patches, else a square.
    private func geometry(_ patch: [Int], count: Int) throws -> PatchGeometry {
        let (patchHeight, patchWidth) = (patch[2], patch[3])
        if let height = options.given(NetworkOptions.imageHeight), let width = options.given(NetworkOptions.imageWidth),
            height % patchHeight == 0, width % patchWidth == 0, height / patchHeight * (width / patchWidth) == count
        {
            return try PatchGeometry(channels: patch[1], height: height, width: width, patchHeight: patchHeight, patchWidth: patchWidth)
        }
        let side = Int(Double(max(count, 0)).squareRoot())
        guard count > 0, side * side == count, side < 1 << 20, patchHeight < 1 << 20, patchWidth < 1 << 20 else {
            throw MRPError(
                .argument, "the file does not say how its \(count) patches form an image: set options image_height and image_width")
        }
        return try PatchGeometry(
            channels: patch[1], height: side * patchHeight, width: side * patchWidth, patchHeight: patchHeight, patchWidth: patchWidth)
    }

    private func decoder(_ notes: inout [String]) throws -> MaskedDecoder {
        let width = try shape("decoder_embed.weight", 2)[0]
        var heads = options.given(NetworkOptions.decoderHeads)
        if heads == nil, width == 512 {
            heads = 16
            notes.append("16 attention heads of the decoder are assumed from its width 512: the file does not say how many")
        }
        guard let heads else {
            throw MRPError(
                .argument, "the file does not say how many attention heads a decoder of width \(width) has: set option decoder_heads")
        }
        let transformer = try ModelDescription.fromFile {
            try TransformerConfiguration(
                width: width, depth: weights.depth("decoder_blocks"), heads: heads,
                hidden: shape("decoder_blocks.0.mlp.fc1.weight", 2)[0], role: "decoder")
        }
        return MaskedDecoder(transformer)
    }
}
