import MRPEngine
import MRPOptions

/// Purpose of a graph, as far as experts are concerned.
public struct MixtureContext {
    /// Images go through this expert, whoever they are; nil: as they are routed.
    public var expert: Int?
    /// The clusters of images are an input of the graph: in training, where images are augmented. Else they are found in the graph.
    public var clustersAreGiven = false
    /// Takes what the routers' losses are made of; nil: there are none.
    public var routers: Routers?

    public init(expert: Int? = nil) { self.expert = expert }

    /// Of a training run.
    public init(training routers: Routers) { (clustersAreGiven, self.routers) = (true, routers) }

    /// The probabilities [.., E] that the routers of a graph gave.
    public final class Routers {
        private var probabilities: [(value: Value, isOfClusters: Bool)] = []

        public init() {}

        func add(_ value: Value, _ mixture: Mixture) { probabilities.append((value, mixture.routing == .cluster)) }

        /// The losses of all routers, means over them; none where the options' weights are 0.
        public func losses(_ graph: Graph, _ options: Options) throws -> [Loss] {
            func mean(_ name: String, _ values: [Value], _ operation: some Operation, _ weight: Double) throws -> [Loss] {
                guard weight > 0, !values.isEmpty else { return [] }
                let terms = try values.map { Loss(name, try graph.apply(operation, [$0])[0], weight: 1 / Double(values.count)) }
                return [Loss(name, try Loss.total(terms, in: graph), weight: weight)]
            }
            let ofClusters = probabilities.filter(\.isOfClusters).map(\.value)
            return try mean("balance", probabilities.map(\.value), BalanceLoss(), options[MixtureOptions.balance])
                + mean("confidence", ofClusters, EntropyLoss(), options[MixtureOptions.confidence])
        }
    }
}

extension NetworkBuilder {
    /// Factor of the router's scores of clusters, whose embeddings have the length 1.
    private static var clusterScale: Double { 4 }

    /// Routing that the experts of all blocks share in one pass over images: the probabilities [B, E] of the images' clusters; nil: nothing.
    func sharedRouting(_ mixture: Mixture, _ images: Value, _ encoder: any MixedEncoder) throws -> Value? {
        guard mixture.routing == .cluster, mixtureContext.expert == nil else { return nil }
        let batch = graph.shape(of: images)[0]
        let numbers =
            mixtureContext.clustersAreGiven
            ? graph.input(MixtureNames.given, TensorType([batch], .int32), filledBy: .loader)
            : try encoder.clusterNumbers(images, self)
        let embeddings = try graph.apply(DispatchRows(), [weight(MixtureNames.embeddings), numbers, nil])[0]
        let product = MatrixProduct(transposeB: true)
        let scores = try graph.apply(product, [embeddings, weight(MixtureNames.gate + ".weight")])[0]
        let probabilities = try graph.apply(SoftmaxRows(), graph.apply(Scale(Self.clusterScale), [scores]))[0]
        mixtureContext.routers?.add(probabilities, mixture)
        return probabilities
    }

    /// The MLP of a block with experts, on normed tokens x [B, T, D]. `shared`: the probabilities that blocks share.
    func expertLayer(_ mlp: String, _ x: Value, _ routing: ExpertRouting, residual: Value?) throws -> Value {
        let mixture = routing.mixture
        if let expert = mixtureContext.expert {
            let name = MixtureNames.expert(mlp, expert)
            return try linear(name + ".fc2", linear(name + ".fc1", x, gelu: true), residual: residual)
        }
        let shape = graph.shape(of: x)
        let scores: Value
        if let shared = routing.shared {
            scores = shared
        } else {
            let logits = try graph.apply(MatrixProduct(transposeB: true), [x, weight(mlp + ".gate.weight")])[0]
            scores = mixture.gate == .selected ? logits : try graph.apply(SoftmaxRows(), [logits])[0]
            if mixture.routing == .token { routing.add(scores) }
        }
        let route =
            switch mixture.routing {
            case .token: try graph.routeToOne(scores)
            case .cluster: try graph.routeToOne(scores, tokens: shape[1])
            // The class token passes no expert.
            case .expertChoice: try graph.routeToMany(scores, capacity: mixture.share(of: shape[1] - 1), first: 1)
            }
        let gates = try graph.gates(mixture.gate, scores, route)
        let hidden = try expertProducts(mlp, "fc1", graph.dispatch(x, route), route, mixture, .gelu)
        let rows = try expertProducts(mlp, "fc2", hidden, route, mixture, .none)
        return try graph.combine(rows, route, gates: gates, shape: Array(shape.dropLast()), residual: residual)
    }

    private func expertProducts(
        _ mlp: String, _ layer: String, _ x: Value, _ route: Route, _ mixture: Mixture, _ activation: MatrixProduct.Activation
    ) throws -> Value {
        let names = (0..<mixture.experts).map { MixtureNames.expert(mlp, $0) + "." + layer }
        let weights = try names.map { try weight($0 + ".weight") } + names.map { try weight($0 + ".bias") }
        return try graph.apply(ExpertProduct(experts: mixture.experts, activation: activation), [x, route.offsets, nil] + weights)[0]
    }
}

/// The experts of a block as its builder sees them.
public final class ExpertRouting {
    let mixture: Mixture
    let shared: Value?
    /// Probabilities of the block's own router.
    private(set) var own: Value?

    init(_ mixture: Mixture, shared: Value?) { (self.mixture, self.shared) = (mixture, shared) }

    fileprivate func add(_ probabilities: Value) { own = probabilities }
}
