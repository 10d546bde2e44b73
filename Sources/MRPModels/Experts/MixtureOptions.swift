import MRPEngine
import MRPOptions

/// Options of a mixture of experts.
public enum MixtureOptions {
    public static let experts = Option(
        "moe_experts", .integer(0...Mixture.maximumExperts), default: 0, section: .network,
        "Experts in the MLP place of a vision transformer's blocks: 0 has none, 2 is the least (upcycling without a word makes 4). docs/experts.md."
    )
    public static let blocks = Option(
        "moe_blocks", .integer(1...TransformerConfiguration.maximumDepth), default: 2, section: .network,
        "Blocks that have experts, counted from the last one back.")
    public static let spacing = Option(
        "moe_spacing", .integer(1...TransformerConfiguration.maximumDepth), default: 1, section: .network,
        "Distance between blocks that have experts: 1 one after the other, 2 every second block.")
    public static let routing = Option(
        "moe_routing", .choice(Mixture.Routing.self), auto: "cluster where a model is upcycled, else token", section: .network,
        "Who chooses the expert: token, each token's most probable one; expert_choice, each expert takes its share of an image's patches, of which some pass none (the class token never does); cluster, the cluster of the image (upcycled models only)."
    )
    public static let capacity = Option(
        "moe_capacity", .number(.above(0, upTo: Double(Mixture.maximumExperts))), default: 1, section: .network,
        "With expert_choice, experts that a patch passes on average: each takes moe_capacity x patches / moe_experts of an image.")
    public static let gate = Option(
        "moe_gate", .choice(Gates.Kind.self), auto: "unit, with expert_choice probability", section: .network,
        "Factor of an expert's output: unit, 1 in value and straight-through in its gradient, so that an expert is a network of its own; probability, that of the router; selected, softmax over the patches that the expert took of the image."
    )
    public static let clusters = Option(
        "moe_clusters", .integer(2...65_536), default: 64, section: .network,
        "Clusters of images when a model is upcycled for moe_routing cluster: many more than experts.")
    public static let balance = Option(
        "moe_balance", .number(0...), default: 0.05, section: .objective,
        "Weight of the loss that spreads tokens or images over the experts: the squared coefficient of variation of their mean probabilities; expert_choice needs none."
    )
    public static let confidence = Option(
        "moe_confidence", .number(0...), default: 0.001, section: .objective,
        "Weight of the entropy of the router's probabilities, with moe_routing cluster.")
    public static let shuffled = Option(
        "moe_shuffled_clusters", .flag, default: false, section: .objective,
        "A control: while it is trained, each image is routed by the cluster of another one, drawn at random once. Experts then have nothing to specialise in."
    )

    static let network: [any OptionDeclaration] = [experts, blocks, spacing, routing, capacity, gate, clusters]
    /// Read by training.
    public static let training: [any OptionDeclaration] = [balance, confidence, shuffled]
}

extension Options {
    /// The mixture that the options describe for a network of this depth; nil: none. `usual`: routing where it is open.
    public func mixture(depth: Int, usual: Mixture.Routing) throws -> Mixture? {
        guard self[MixtureOptions.experts] > 0 else { return nil }
        return try Mixture(
            experts: self[MixtureOptions.experts], blocks: self[MixtureOptions.blocks], spacing: self[MixtureOptions.spacing],
            routing: self[MixtureOptions.routing] ?? usual, gate: self[MixtureOptions.gate], capacity: self[MixtureOptions.capacity],
            clusters: self[MixtureOptions.clusters], depth: depth)
    }
}

// MARK: In configurations

extension Mixture {
    var json: JSON {
        .object([
            ("experts", .integer(experts)), ("blocks", .integer(blocks)), ("spacing", .integer(spacing)),
            ("routing", .string(routing.rawValue)), ("gate", .string(gate.rawValue)), ("capacity", .number(capacity)),
            ("clusters", .integer(clusters)),
        ])
    }

    /// Errors: `.format` for a missing key, `.argument` for values that do not go together.
    init(_ json: JSON, depth: Int) throws {
        guard let routing = json["routing"]?.string.flatMap(Routing.init), let gate = json["gate"]?.string.flatMap(Gates.Kind.init),
            let capacity = json["capacity"]?.number
        else { throw MRPError(.format, "the experts of the configuration have no known routing, gate or capacity") }
        try self.init(
            experts: json.integer(of: "experts"), blocks: json.integer(of: "blocks"), spacing: json.integer(of: "spacing"),
            routing: routing, gate: gate, capacity: capacity, clusters: json.integer(of: "clusters"), depth: depth)
        guard clusters <= 1 << 20 else { throw MRPError(.format, "\(clusters) clusters of experts are over \(1 << 20)") }
    }
}
