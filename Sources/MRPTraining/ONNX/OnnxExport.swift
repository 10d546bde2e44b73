import MRPEngine
import MRPModels
import MRPOptions

/// A model as an ONNX graph: an encoder with its features, or a classifier with its scores.
public enum OnnxExport {
    /// Writes the file. Options: `features` and `layer` for an encoder; `classifier=new` leaves the classifier out.
    public static func write(_ model: Model, to path: String, _ options: Options = Options()) throws {
        let wantsClassifier = options[FileOptions.classifier] != .new
        let kind = options[FeatureOptions.features]
        let layer = options[FeatureOptions.layer]
        if let network = model.encoder as? ResidualNetwork {
            var builder = OnnxResidualNetwork(model, network)
            if model.head != nil, wantsClassifier {
                try builder.classifier()
            } else {
                try builder.features(kind, layer: layer)
            }
            return try builder.graph.write(to: path, name: "libmrp")
        }
        guard let encoder = model.encoder as? VisionTransformer else {
            throw MRPError(.unsupported, "export to ONNX is offered for vision transformers and residual networks only")
        }
        var builder = OnnxTransformer(model, encoder)
        if let head = model.head as? ClassifierHead, wantsClassifier {
            try builder.classifier(head)
        } else {
            try builder.features(kind, layer: layer)
        }
        try builder.graph.write(to: path, name: "libmrp")
    }
}

/// Builds the graph of a vision transformer.
private struct OnnxTransformer {
    let model: Model
    let encoder: VisionTransformer
    var graph = OnnxGraph()

    init(_ model: Model, _ encoder: VisionTransformer) { (self.model, self.encoder) = (model, encoder) }

    private var geometry: PatchGeometry { encoder.geometry }
    private var width: Int { encoder.transformer.width }

    private mutating func weight(_ name: String, _ shape: [Int]) throws -> String { try graph.weight(name, shape, of: model) }

    // MARK: Outputs

    mutating func classifier(_ head: ClassifierHead) throws {
        let tokens = try encode(depth: encoder.transformer.depth)
        let pooled: String
        switch head.pooling {
        case .mean: pooled = try layerNorm("fc_norm", meanOfPatches(tokens))
        case .cls: pooled = try layerNorm("norm", classToken(tokens))
        }
        let logits = try linear("head", pooled)
        graph.output(logits, as: "logits", [head.classes])
        graph.output(graph.apply("Softmax", [logits], [("axis", .integer(-1))]), as: "probabilities", [head.classes])
    }

    mutating func features(_ kind: Inference.Features, layer: Int) throws {
        let depth = encoder.transformer.depth
        guard layer <= depth else { throw MRPError(.argument, "layer \(layer) is outside 0 ... \(depth)") }
        var tokens = try encode(depth: layer == 0 ? depth : layer)
        if layer == 0 { tokens = try layerNorm(model.head?.featurePooling == .mean ? "fc_norm" : "norm", tokens) }
        switch kind {
        case .mean: graph.output(try meanOfPatches(tokens), as: "features", [width])
        case .cls: graph.output(try classToken(tokens), as: "features", [width])
        case .tokens: graph.output(tokens, as: "features", [1 + geometry.count, width])
        }
    }

    private mutating func meanOfPatches(_ tokens: String) throws -> String {
        let bounds = try [[1], [1 + geometry.count], [1]].map { try graph.constant("bounds", $0) }
        let patches = graph.apply("Slice", [tokens] + bounds)
        return graph.apply("ReduceMean", [patches], [("axes", .integers([1])), ("keepdims", .integer(0))])
    }

    private mutating func classToken(_ tokens: String) throws -> String {
        let bounds = try [[0], [1], [1]].map { try graph.constant("bounds", $0) }
        let first = graph.apply("Slice", [tokens] + bounds)
        return graph.apply("Squeeze", [first, try graph.constant("axis", [1])])
    }

    // MARK: Network

    /// Tokens [batch, 1 + L, width] after so many blocks.
    private mutating func encode(depth: Int) throws -> String {
        let images = try graph.standardizedImages(model)
        let patch = [geometry.patchHeight, geometry.patchWidth]
        let grid = graph.apply(
            "Conv",
            [
                images, try weight("patch_embed.proj.weight", [width, geometry.channels] + patch),
                try weight("patch_embed.proj.bias", [width]),
            ], [("kernel_shape", .integers(patch)), ("strides", .integers(patch))])
        let columns = graph.apply("Reshape", [grid, try graph.constant("shape", [0, width, geometry.count])])
        let patches = graph.apply("Transpose", [columns], [("perm", .integers([0, 2, 1]))])
        // The class token once for each image.
        let batch = graph.apply("Shape", [images], [("start", .integer(0)), ("end", .integer(1))])
        let shape = graph.apply("Concat", [batch, try graph.constant("shape", [1, width])], [("axis", .integer(0))])
        let token = graph.apply("Expand", [try weight("cls_token", [1, 1, width]), shape])
        let tokens = graph.apply("Concat", [token, patches], [("axis", .integer(1))])
        var x = graph.apply("Add", [tokens, try weight("pos_embed", [1, 1 + geometry.count, width])])
        for index in 0..<depth { x = try block("blocks.\(index)", x) }
        return x
    }

    private mutating func block(_ name: String, _ x: String) throws -> String {
        let attended = try attention(name + ".attn", layerNorm(name + ".norm1", x))
        let middle = graph.apply("Add", [x, attended])
        let hidden = try gelu(linear(name + ".mlp.fc1", layerNorm(name + ".norm2", middle)))
        return graph.apply("Add", [middle, try linear(name + ".mlp.fc2", hidden)])
    }

    private mutating func attention(_ name: String, _ x: String) throws -> String {
        let heads = encoder.transformer.heads
        let depth = width / heads
        let split = graph.apply("Reshape", [try linear(name + ".qkv", x), try graph.constant("shape", [0, 0, 3, heads, depth])])
        // [3, batch, heads, tokens, depth]
        let qkv = graph.apply("Transpose", [split], [("perm", .integers([2, 0, 3, 1, 4]))])
        var parts: [String] = []
        for part in 0..<3 {
            let bounds = try [[part], [part + 1], [0]].map { try graph.constant("bounds", $0) }
            parts.append(graph.apply("Squeeze", [graph.apply("Slice", [qkv] + bounds), try graph.constant("axis", [0])]))
        }
        let scale = try graph.constant("scale", [Float(1 / Double(depth).squareRoot())], shape: [])
        let keys = graph.apply("Transpose", [parts[1]], [("perm", .integers([0, 1, 3, 2]))])
        let scores = graph.apply("MatMul", [graph.apply("Mul", [parts[0], scale]), keys])
        let mixed = graph.apply("MatMul", [graph.apply("Softmax", [scores], [("axis", .integer(-1))]), parts[2]])
        let rows = graph.apply("Transpose", [mixed], [("perm", .integers([0, 2, 1, 3]))])
        return try linear(name + ".proj", graph.apply("Reshape", [rows, try graph.constant("shape", [0, 0, width])]))
    }

    /// x (1 + erf(x / sqrt 2)) / 2; opset 17 has no operation for it.
    private mutating func gelu(_ x: String) throws -> String {
        let root = try graph.constant("root_2", [Float(2.0.squareRoot())], shape: [])
        let one = try graph.constant("one", [1], shape: [])
        let half = try graph.constant("half", [0.5], shape: [])
        let share = graph.apply("Add", [graph.apply("Erf", [graph.apply("Div", [x, root])]), one])
        return graph.apply("Mul", [graph.apply("Mul", [x, share]), half])
    }

    private mutating func layerNorm(_ name: String, _ x: String) throws -> String {
        let inputs = [x, try weight(name + ".weight", [width]), try weight(name + ".bias", [width])]
        return graph.apply("LayerNormalization", inputs, [("axis", .integer(-1)), ("epsilon", .float(Float(encoder.epsilon)))])
    }

    /// x W^T + b: MatMul wants the weight as [inputs, outputs].
    private mutating func linear(_ name: String, _ x: String) throws -> String {
        let tensor = try graph.stored(name + ".weight", model)
        let (outputs, inputs) = (tensor.shape[0], tensor.shape[1])
        let transposed = try Tensor([inputs, outputs])
        let (source, target) = (tensor.float32, transposed.float32)
        for row in 0..<outputs {
            for column in 0..<inputs { target[column * outputs + row] = source[row * inputs + column] }
        }
        let data = UnsafeRawBufferPointer(start: transposed.memory, count: transposed.bytes)
        let matrix = graph.constant(name + ".weight", [inputs, outputs], data, keeping: transposed)
        let bias = try weight(name + ".bias", [outputs])
        return graph.apply("Add", [graph.apply("MatMul", [x, matrix]), bias])
    }
}
