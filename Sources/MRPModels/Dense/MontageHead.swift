import MRPEngine

/// The networks that montage pretraining (Guo et al. 2023, MCL) has on a feature pyramid: a head for cells of its maps, which all levels share
/// (3 x 3 convolutions with batch norm and ReLU, the mean over the cell, an MLP whose last batch norm has no scale and shift), and predictors
/// (MLPs). No layer has a bias where a batch norm follows.
public struct MontageHead: Equatable, Sendable {
    public let pyramid: FeaturePyramid
    /// Convolutions before the mean.
    public let convolutions: Int
    /// Width of the MLPs' inner layers.
    public let hidden: Int
    /// Width of an embedding.
    public let width: Int

    /// Names of its weights in files; `*` stands for a number.
    public static let names = [
        "montage_head.conv.*", "montage_head.conv_norm.*", "montage_head.fc1", "montage_head.fc1_norm", "montage_head.fc2",
        "montage_head.fc2_norm", "montage_predictor.*.fc1", "montage_predictor.*.fc1_norm", "montage_predictor.*.fc2",
    ].map { NameRow($0) }

    public init(pyramid: FeaturePyramid, convolutions: Int, hidden: Int, width: Int) {
        (self.pyramid, self.convolutions, self.hidden, self.width) = (pyramid, convolutions, hidden, width)
    }

    /// Weights of the head alone.
    public func parameters() -> [ParameterSpecification] {
        var list: [ParameterSpecification] = []
        for index in 0..<convolutions {
            list.append(FeaturePyramid.convolution("montage_head.conv.\(index)", from: pyramid.width, to: pyramid.width, kernel: 3))
            list += batchNormParameters("montage_head.conv_norm.\(index)", width: pyramid.width)
        }
        list.append(ParameterSpecification("montage_head.fc1.weight", [hidden, pyramid.width], .xavierUniform))
        list += batchNormParameters("montage_head.fc1_norm", width: hidden)
        list.append(ParameterSpecification("montage_head.fc2.weight", [width, hidden], .xavierUniform))
        return list + batchNormParameters("montage_head.fc2_norm", width: width).filter { $0.role == .statistic }
    }

    /// Weights of a predictor: normal with deviation 0.01.
    public func predictorParameters(_ index: Int) -> [ParameterSpecification] {
        let name = "montage_predictor.\(index)"
        return [ParameterSpecification(name + ".fc1.weight", [hidden, width], .normal(std: 0.01))]
            + batchNormParameters(name + ".fc1_norm", width: hidden) + [
                ParameterSpecification(name + ".fc2.weight", [width, hidden], .normal(std: 0.01)),
                ParameterSpecification(name + ".fc2.bias", [width], .zeros, role: .bias),
            ]
    }

    /// Embeddings [N, width] of cells [N, h w, C].
    public func embeddings(_ cells: FeatureMap, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        var x = cells
        for index in 0..<convolutions {
            x = try x.convolution(builder.weight("montage_head.conv.\(index).weight"), kernel: 3, stride: 1, visible: nil, graph)
            x.value = try builder.batchNorm("montage_head.conv_norm.\(index)", x.value, .relu, epsilon: FeaturePyramid.epsilon)
        }
        let inner = try perceptron("montage_head", graph.apply(MeanTokens(first: 0), [x.value])[0], builder)
        return try builder.batchNorm("montage_head.fc2_norm", inner, epsilon: FeaturePyramid.epsilon)
    }

    /// What a predictor makes of embeddings [N, width].
    public func prediction(_ embeddings: Value, _ index: Int, _ builder: NetworkBuilder) throws -> Value {
        try perceptron("montage_predictor.\(index)", embeddings, builder)
    }

    private func perceptron(_ name: String, _ x: Value, _ builder: NetworkBuilder) throws -> Value {
        let inner = try builder.batchNorm(name + ".fc1_norm", builder.linear(name + ".fc1", x), .relu, epsilon: FeaturePyramid.epsilon)
        return try builder.linear(name + ".fc2", inner)
    }
}
