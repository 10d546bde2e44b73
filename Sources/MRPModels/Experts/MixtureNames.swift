import MRPEngine

/// Names of the weights of a mixture.
public enum MixtureNames {
    public static let gate = "moe.gate"
    /// Centres of the clusters of images [m, q], and what brings features there: mean [D], whitening [D, q].
    public static let clusters = "moe.clusters"
    public static let mean = "moe.mean"
    public static let whitening = "moe.whitening"
    /// The router's view of the clusters [m, D].
    public static let embeddings = "moe.cluster_embeddings"
    /// Input of the graph: the cluster of each image, where the caller knows it.
    public static let given = "moe.image_clusters"
    /// Begins the names of the frozen encoder that found the clusters.
    public static let encoder = "moe.encoder."

    /// "blocks.3.mlp.experts.0"
    public static func expert(_ mlp: String, _ number: Int) -> String { "\(mlp).experts.\(number)" }

    /// Source of a weight of a dense network in a mixture: the weight of the block's expert, or the one of the same name.
    public static func source(_ weight: String, expert number: Int) -> String {
        let parts = weight.split(separator: ".")
        guard parts.count == 5, parts[0] == "blocks", parts[2] == "mlp", parts[3].hasPrefix("fc") else { return weight }
        return "\(expert(parts[..<3].joined(separator: "."), number)).\(parts[3]).\(parts[4])"
    }

    static let rows =
        ["fc1", "fc2"].map { NameRow("blocks.*.mlp.experts.*." + $0) }
        + [NameRow("blocks.*.mlp.gate")] + [gate, clusters, mean, whitening, embeddings].map { NameRow($0) }
}

extension Mixture {
    /// The weights of the experts of one block, and of its router where it has one of its own.
    func parameters(_ mlp: String, width: Int, hidden: Int) -> [ParameterSpecification] {
        let experts = (0..<experts).map { MixtureNames.expert(mlp, $0) }.flatMap {
            linearParameters($0 + ".fc1", from: width, to: hidden) + linearParameters($0 + ".fc2", from: hidden, to: width)
        }
        guard routing != .cluster else { return experts }
        return experts + [ParameterSpecification(mlp + ".gate.weight", [self.experts, width], .normal(std: 0.02))]
    }

    /// The weights that blocks share: the router of clusters, the clusters, and the frozen encoder that found them.
    func sharedParameters(width: Int, dense: VisionTransformer) -> [ParameterSpecification] {
        guard routing == .cluster else { return [] }
        let directions = BalancedClusters.directions(width)
        func measured(_ name: String, _ shape: [Int], stored: [Int]? = nil) -> ParameterSpecification {
            ParameterSpecification(name, shape, .zeros, role: .measured, storedShape: stored)
        }
        return [
            ParameterSpecification(
                MixtureNames.gate + ".weight", [experts, width], .normal(std: 1 / Double(width).squareRoot())),
            measured(MixtureNames.clusters, [clusters, directions]), measured(MixtureNames.mean, [width]),
            measured(MixtureNames.whitening, [width, directions]), measured(MixtureNames.embeddings, [clusters, width]),
        ] + dense.parameters().map { measured(MixtureNames.encoder + $0.name, $0.shape, stored: $0.storedShape) }
    }
}
