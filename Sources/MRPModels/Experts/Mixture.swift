import MRPEngine

/// A mixture of experts in the MLP place of some blocks of a vision transformer: each expert is an MLP like the block's own, and each token
/// passes through those to which it is routed.
public struct Mixture: Equatable, Sendable {
    public enum Routing: String, CaseIterable, Sendable {
        /// Each token to the expert that a linear router of its block finds most probable (Shazeer et al. 2017; Fedus et al. 2022).
        case token
        /// Each expert takes its share of the patches of an image (Zhou et al. 2022; Chowdhury et al. 2023, pMoE).
        case expertChoice = "expert_choice"
        /// All tokens of an image to the expert of the image's cluster, in all blocks alike (Liu et al. 2023, MoCE).
        case cluster

        /// The gates that go with it, the usual one first. An expert whose output is used as it is can be taken out as a network of its own.
        public var gates: [Gates.Kind] {
            switch self {
            case .token: [.unit, .score]
            case .expertChoice: [.score, .selected]
            case .cluster: [.unit]
            }
        }
    }

    public let experts: Int
    /// Blocks with experts: so many, counted from the last block back in steps of `spacing`.
    public let blocks: Int
    public let spacing: Int
    public let routing: Routing
    public let gate: Gates.Kind
    /// Experts that a patch passes through on average where experts choose: each takes capacity x patches / experts of an image.
    public let capacity: Double
    /// Clusters of images where these are routed.
    public let clusters: Int

    public static let maximumExperts = 256

    /// Errors: `.argument` for values that do not go together, also with the depth of the network.
    public init(
        experts: Int, blocks: Int, spacing: Int, routing: Routing, gate: Gates.Kind? = nil, capacity: Double, clusters: Int, depth: Int
    ) throws {
        guard experts >= 2, experts <= Self.maximumExperts else {
            throw MRPError(.argument, "moe_experts \(experts) is outside 2 ... \(Self.maximumExperts)")
        }
        guard blocks >= 1, spacing >= 1, blocks <= depth, (blocks - 1) * spacing < depth else {
            throw MRPError(.argument, "moe_blocks \(blocks) with moe_spacing \(spacing) do not fit into the \(depth) blocks of the network")
        }
        let gate = gate ?? routing.gates[0]
        guard routing.gates.contains(gate) else {
            let names = routing.gates.map(\.rawValue).joined(separator: " or ")
            throw MRPError(.argument, "moe_gate \(gate.rawValue) does not go with moe_routing \(routing.rawValue), which takes \(names)")
        }
        guard capacity > 0, capacity <= Double(experts) else {
            throw MRPError(
                .argument, "moe_capacity \(capacity) is outside (0, \(experts)], the number of experts that a patch can be taken by")
        }
        guard routing != .cluster || clusters >= experts else {
            throw MRPError(.argument, "moe_clusters \(clusters) is below moe_experts \(experts): an expert would have none")
        }
        (self.experts, self.blocks, self.spacing, self.routing) = (experts, blocks, spacing, routing)
        (self.gate, self.capacity, self.clusters) = (gate, capacity, clusters)
    }

    /// True for the blocks of a network of this depth that have experts.
    public func contains(block: Int, depth: Int) -> Bool {
        let back = depth - 1 - block
        return back % spacing == 0 && back / spacing < blocks
    }

    /// Tokens that each expert takes of an image of so many patches.
    public func share(of patches: Int) -> Int {
        min(patches, max(1, Int((capacity * Double(patches) / Double(experts)).rounded())))
    }
}

/// An encoder that may have experts.
public protocol MixedEncoder: ImageEncoder {
    /// nil: it has none.
    var mixture: Mixture? { get }

    /// The same network with other experts, or without. Weights are the caller's to bring along (`MixtureNames`).
    func with(_ mixture: Mixture?) -> any MixedEncoder

    /// The cluster of each image [B], int32, by the frozen copy of the encoder that found the clusters.
    func clusterNumbers(_ images: Value, _ builder: NetworkBuilder) throws -> Value
}

extension MixedEncoder {
    /// The expert of each image [B], int32, where images are routed by their cluster. Errors: `.state` where they are not.
    public func expertNumbers(_ images: Value, _ builder: NetworkBuilder) throws -> Value {
        guard let mixture, let probabilities = try builder.sharedRouting(mixture, images, self) else {
            throw MRPError(.state, "the images are not routed by their clusters")
        }
        return try builder.graph.apply(LargestOfRow(), [probabilities])[0]
    }
}

extension Model {
    /// The encoder's experts; nil: it has none.
    public var mixture: Mixture? { (encoder as? any MixedEncoder)?.mixture }

    /// Refuses what files of others have no place for. `what`: "names timm" and the like. Errors: `.unsupported`.
    public func checkNoExperts(_ what: String) throws {
        guard let mixture else { return }
        throw MRPError(.unsupported, "\(what): a mixture of \(mixture.experts) experts has no such form: extract an expert first")
    }
}
