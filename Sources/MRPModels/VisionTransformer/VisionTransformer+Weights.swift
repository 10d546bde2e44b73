import MRPEngine
import MRPOptions

/// Files of timm and of Meta's MAE come without a configuration that says all.
extension VisionTransformer {
    static func infer(_ file: WeightFile, _ notes: inout [String]) throws -> VisionTransformer {
        let patch = try file.shape("patch_embed.proj.weight", 4)
        let geometry = try geometry(patch, count: file.shape("pos_embed", 3)[1] - 1, file.options)
        let width = patch[0]
        var heads = file.options.given(NetworkOptions.heads)
        if heads == nil, let size = sizes.first(where: { $0.width == width }) {
            heads = size.heads
            notes.append("\(size.heads) attention heads are assumed from the width \(width): the file does not say how many")
        }
        guard let heads else {
            throw MRPError(.argument, "the file does not say how many attention heads a width of \(width) has: set option heads")
        }
        let transformer = try MRPError.ofFile {
            try TransformerConfiguration(
                width: width, depth: file.weights.depth(of: "blocks"), heads: heads, hidden: file.shape("blocks.0.mlp.fc1.weight", 2)[0])
        }
        let pools = file.weights.shape("fc_norm.weight") != nil
        let hasHead = file.weights.shape("head.weight") != nil
        try file.checkTimm(
            named: nil, activation: "gelu", pooling: hasHead ? (pools ? "avg" : "token") : nil,
            assumed: "exact GELU\(hasHead ? ", a classifier on the \(pools ? "mean of the patches" : "class token")" : "")", &notes)
        return VisionTransformer(
            geometry: geometry, transformer: transformer, epsilon: epsilon(file, &notes),
            positions: try positions(in: file.weights, geometry) ?? .sinCos)
    }

    /// The grid is that of the options where it has as many patches, else a square.
    private static func geometry(_ patch: [Int], count: Int, _ options: Options) throws -> PatchGeometry {
        let (patchHeight, patchWidth) = (patch[2], patch[3])
        if let height = options.given(NetworkOptions.imageHeight), let width = options.given(NetworkOptions.imageWidth),
            height % patchHeight == 0, width % patchWidth == 0, height / patchHeight * (width / patchWidth) == count
        {
            return try MRPError.ofFile {
                try PatchGeometry(channels: patch[1], height: height, width: width, patchHeight: patchHeight, patchWidth: patchWidth)
            }
        }
        let side = Int(Double(max(count, 0)).squareRoot())
        guard count > 0, side * side == count, side < 1 << 20, patchHeight < 1 << 20, patchWidth < 1 << 20 else {
            throw MRPError(
                .argument, "the file does not say how its \(count) patches form an image: set options image_height and image_width")
        }
        return try MRPError.ofFile {
            try PatchGeometry(
                channels: patch[1], height: side * patchHeight, width: side * patchWidth, patchHeight: patchHeight, patchWidth: patchWidth)
        }
    }

    private static func epsilon(_ file: WeightFile, _ notes: inout [String]) -> Double {
        if let given = file.options.given(NetworkOptions.layerNormEps) { return given }
        let epsilon = file.weights.spelling == .timm ? 1e-6 : 1e-12
        notes.append("layer_norm_eps \(epsilon) is assumed: the file does not say it")
        return epsilon
    }

    /// Kind of the stored positions; nil when they cannot be read. Errors: `.memory`.
    static func positions(in weights: any WeightShapes, _ geometry: PatchGeometry) throws -> Positions? {
        // With numbers in the file: a table of none would be made as large as its other dimensions say.
        guard let shape = weights.shape("pos_embed"), shape.count == 3, shape[0] == 1, shape[1] == 1 + geometry.count, shape[2] > 0,
            shape[2] % 4 == 0, let values = try weights.tensor("pos_embed")
        else { return nil }
        let table = try Tensor(values.shape)
        sinCosPositions(into: table.float32, width: shape[2], gridHeight: geometry.gridHeight, gridWidth: geometry.gridWidth)
        return zip(values.float32, table.float32).allSatisfy { abs($0 - $1) < 1e-4 } ? .sinCos : .learned
    }

    public func pooling(in weights: any WeightShapes) -> Pooling { weights.shape("fc_norm.weight") == nil ? .cls : .mean }

    public func optionalWeights(head: (any Head)?) -> [OptionalWeights] {
        let norm = OptionalWeights(
            note: "the file has no norm of the encoder, which its classifier does not use: it scales by 1", unwrittenIn: [.timm],
            contains: { ["norm.weight", "norm.bias"].contains($0) })
        let bias = OptionalWeights(
            note: "the file has no bias of query, key and value: it is zero", contains: { $0.hasSuffix("attn.qkv.bias") })
        return head?.featurePooling == .mean ? [norm, bias] : [bias]
    }

    public func remarks(on parameters: Parameters) -> [String] {
        guard positions == .sinCos, let table = parameters["pos_embed"], table.float32.allSatisfy({ $0 == 0 }) else { return [] }
        return ["all positions are zero, as transformers leaves them when it trains from scratch: positions=recompute sets them"]
    }
}
