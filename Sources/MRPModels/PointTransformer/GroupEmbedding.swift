import MRPEngine

/// The small PointNet (Qi et al. 2017) that makes a token of a group's points: two layers on each point, the maximum over the group beside
/// each point, two more layers, the maximum again. Batch norms run over all points of all groups.
public struct GroupEmbedding: Equatable, Sendable {
    /// Widths of the first three layers, 128, 256 and 512 in Point-MAE; the fourth has the tokens'.
    public let widths: [Int]

    /// Throws without three widths in 1 ... 65536.
    public init(widths: [Int]) throws {
        guard widths.count == 3, widths.allSatisfy({ (1...TransformerConfiguration.maximumWidth).contains($0) }) else {
            throw MRPError(
                .argument, "widths \(widths) of a group embedding must be three numbers in 1 ... \(TransformerConfiguration.maximumWidth)")
        }
        self.widths = widths
    }

    func parameters(channels: Int, width: Int) -> [ParameterSpecification] {
        pointLayerParameters("encoder.first_conv.0", from: channels, to: widths[0])
            + batchNormParameters("encoder.first_conv.1", width: widths[0])
            + pointLayerParameters("encoder.first_conv.3", from: widths[0], to: widths[1])
            + pointLayerParameters("encoder.second_conv.0", from: 2 * widths[1], to: widths[2])
            + batchNormParameters("encoder.second_conv.1", width: widths[2])
            + pointLayerParameters("encoder.second_conv.3", from: widths[2], to: width)
    }

    /// Points [S, k, C] to tokens [S, 1, D].
    func apply(_ points: Value, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let first = try builder.batchNorm("encoder.first_conv.1", builder.linear("encoder.first_conv.0", points), .relu)
        let features = try builder.linear("encoder.first_conv.3", first)
        let joined = try builder.batchNorm("encoder.second_conv.1", join(features, builder), .relu)
        return try graph.largestOfTokens(builder.linear("encoder.second_conv.3", joined))
    }

    /// The layer on [maximum, point]: as its weight [W_g, W_f] acts on each half, the maximum's part is computed once for a group.
    private func join(_ features: Value, _ builder: NetworkBuilder) throws -> Value {
        let (graph, name, product) = (builder.graph, "encoder.second_conv.0", MatrixProduct(transposeB: true))
        // Rows 2 o of the halves belong to the maximum, rows 2 o + 1 to the point.
        let halves = try graph.apply(Reshape([1, 2 * widths[2], widths[1]]), [builder.weight(name + ".weight")])[0]
        func half(_ odd: Int) throws -> Value {
            let rows = try builder.gather(halves, ids: graph.constant(indices: (0..<widths[2]).map { Int32(2 * $0 + odd) }))
            return try graph.apply(Reshape([widths[2], widths[1]]), [rows])[0]
        }
        let ofGroup = try graph.apply(product, [graph.largestOfTokens(features), half(0), builder.weight(name + ".bias"), nil])[0]
        let everywhere = try builder.gather(
            ofGroup, ids: graph.constant(indices: [Int32](repeating: 0, count: graph.shape(of: features)[1])))
        return try graph.apply(product, [features, half(1), nil, everywhere])[0]
    }
}

extension Graph {
    /// The maximum over tokens, [S, T, W] to [S, 1, W].
    func largestOfTokens(_ x: Value) throws -> Value {
        let window = try Window(shape(of: x)[1], kernel: shape(of: x)[1])
        return try apply(Pool(.maximum, rows: window, columns: Window(1, kernel: 1)), Pool.inputs(x))[0]
    }
}

/// A layer on each point, stored as torch's convolution of width 1 and initialised as that.
func pointLayerParameters(_ name: String, from inputs: Int, to outputs: Int) -> [ParameterSpecification] {
    let bound = 1 / Double(inputs).squareRoot()
    return [
        ParameterSpecification(name + ".weight", [outputs, inputs], .uniform(bound: bound), storedShape: [outputs, inputs, 1]),
        ParameterSpecification(name + ".bias", [outputs], .uniform(bound: bound), role: .bias),
    ]
}

private let positionHidden = 128

/// Weights of the positions of groups: C to 128, GELU, to D. Features of a centre are 0.
public func pointPositionParameters(_ name: String, channels: Int, width: Int) -> [ParameterSpecification] {
    linearParameters(name + ".0", from: channels, to: positionHidden) + linearParameters(name + ".2", from: positionHidden, to: width)
}

extension NetworkBuilder {
    /// Positions [B, K, D] of groups with these centres [B, K, C].
    public func pointPositions(_ name: String, _ centres: Value) throws -> Value {
        try linear(name + ".2", linear(name + ".0", centres, gelu: true))
    }
}
