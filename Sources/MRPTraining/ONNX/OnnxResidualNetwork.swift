import MRPEngine
import MRPModels

/// Builds the graph of a residual network in inference: batch norms take their running statistics.
struct OnnxResidualNetwork {
    private let model: Model
    private let network: ResidualNetwork
    private(set) var graph = OnnxGraph()

    init(_ model: Model, _ network: ResidualNetwork) { (self.model, self.network) = (model, network) }

    // MARK: Outputs

    mutating func classifier() throws {
        let (name, width) = ("fc", network.featureWidth)
        let classes = try graph.stored(name + ".weight", model).shape[0]
        let pooled = try mean(stages(last: network.depth))
        let inputs = try [pooled, weight(name + ".weight", [classes, width]), weight(name + ".bias", [classes])]
        let logits = graph.apply("Gemm", inputs, [("transB", .integer(1))])
        graph.output(logits, as: "logits", [classes])
        graph.output(graph.apply("Softmax", [logits], [("axis", .integer(-1))]), as: "probabilities", [classes])
    }

    mutating func features(_ kind: Inference.Features, layer: Int) throws {
        guard layer <= network.depth else { throw MRPError(.argument, "layer \(layer) is outside 0 ... \(network.depth)") }
        let shape = network.featureShape(layer: layer)
        switch kind {
        case .cls: throw MRPError(.argument, "features cls: the encoder has no class token")
        case .mean: graph.output(try mean(stages(last: layer == 0 ? network.depth : layer)), as: "features", [shape.width])
        case .tokens:
            let map = try stages(last: layer == 0 ? network.depth : layer)
            let columns = graph.apply("Reshape", [map, try graph.constant("shape", [0, shape.width, shape.tokens])])
            let tokens = graph.apply("Transpose", [columns], [("perm", .integers([0, 2, 1]))])
            graph.output(tokens, as: "features", [shape.tokens, shape.width])
        }
    }

    private mutating func mean(_ map: String) throws -> String {
        graph.apply("Flatten", [graph.apply("GlobalAveragePool", [map])], [("axis", .integer(1))])
    }

    // MARK: Network

    /// The output [batch, channels, height, width] of a stage, 1 ... 4.
    private mutating func stages(last: Int) throws -> String {
        var x = try relu(apply(network.stemLayer, graph.standardizedImages(model)))
        if network.stem == .imagenet {
            x = graph.apply(
                "MaxPool", [x],
                [("kernel_shape", .integers([3, 3])), ("pads", .integers([1, 1, 1, 1])), ("strides", .integers([2, 2]))])
        }
        for block in network.stages.prefix(last).flatMap({ $0 }) { x = try apply(block, x) }
        return x
    }

    private mutating func apply(_ block: ResidualNetwork.Block, _ x: String) throws -> String {
        let shortcut = try block.projection.map { try apply($0, x) } ?? x
        var inner = x
        for (index, layer) in block.layers.enumerated() {
            inner = try apply(layer, inner)
            if index < block.layers.count - 1 { inner = relu(inner) }
        }
        return relu(graph.apply("Add", [inner, shortcut]))
    }

    private mutating func apply(_ layer: ResidualNetwork.Layer, _ x: String) throws -> String {
        let (side, padding) = (layer.kernel, layer.kernel / 2)
        let kernel = try weight(layer.name + ".weight", [layer.output, layer.input, side, side])
        let convolved = graph.apply(
            "Conv", [x, kernel],
            [
                ("kernel_shape", .integers([side, side])), ("pads", .integers([padding, padding, padding, padding])),
                ("strides", .integers([layer.stride, layer.stride])),
            ])
        let statistics = try ["weight", "bias", "running_mean", "running_var"].map { try weight("\(layer.norm).\($0)", [layer.output]) }
        return graph.apply("BatchNormalization", [convolved] + statistics, [("epsilon", .float(Float(network.epsilon)))])
    }

    private mutating func relu(_ x: String) -> String { graph.apply("Relu", [x]) }

    private mutating func weight(_ name: String, _ shape: [Int]) throws -> String { try graph.weight(name, shape, of: model) }
}
