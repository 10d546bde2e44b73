import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// From a dense model to a mixture of experts and back: upcycling (Komatsuzaki et al. 2023; clusters as in Liu et al. 2023, MoCE), the choice of
/// an expert for a task, and its extraction as an ordinary model.
public enum Upcycling {
    /// Experts where the options leave it open.
    private static let usualExperts = 4

    /// A mixture with the weights of a dense model: every expert begins as a copy of its block's MLP. With routing by cluster the images are
    /// clustered by the model's features, and the mixture keeps a frozen copy of the encoder, by which later images are assigned.
    ///
    /// Errors: `.argument` where the options describe no mixture for this model, or more clusters than images; `.unsupported` for encoders that
    /// have no experts; `.state` for a model that has some; `.memory`; `Cancelled`.
    public static func mixture(
        of model: Model, _ dataset: (any ImageDataset)?, _ options: Options, cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil
    ) throws -> Model {
        guard let encoder = model.encoder as? any MixedEncoder else {
            throw MRPError(.unsupported, "a \(model.encoder.family.name) has no experts, vision transformers have")
        }
        guard encoder.mixture == nil else { throw MRPError(.state, "the model has experts already: extract one of them first") }
        var options = options
        if !options.isSet(MixtureOptions.experts) { try options.set(MixtureOptions.experts.key, "\(Self.usualExperts)") }
        guard let mixture = try options.mixture(depth: encoder.depth, usual: .cluster) else {
            throw MRPError(.argument, "moe_experts 0 makes no mixture: set it to 2 or more")
        }
        let result = try remade(model, encoder.with(mixture), seed: options.seed) { $0 }
        for block in 0..<encoder.depth where mixture.contains(block: block, depth: encoder.depth) {
            for layer in ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"] {
                let name = "blocks.\(block).mlp." + layer
                for expert in 0..<mixture.experts { copy(model, name, to: result, MixtureNames.source(name, expert: expert)) }
            }
        }
        if mixture.routing == .cluster {
            guard let dataset else { throw MRPError(.argument, "moe_routing cluster needs images to cluster") }
            for specification in encoder.parameters() {
                copy(model, specification.name, to: result, MixtureNames.encoder + specification.name)
            }
            try cluster(result, model, dataset, mixture, options, cancel: cancel, poll: poll)
        }
        return result
    }

    /// Writes clusters, their embeddings, and what assigns images to them. Features are means over patches after the final norm.
    private static func cluster(
        _ result: Model, _ model: Model, _ dataset: any ImageDataset, _ mixture: Mixture, _ options: Options,
        cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws {
        var inference = Inference(model, options, cancel: cancel, poll: poll)
        inference.skipsUnreadable = false
        let width = model.encoder.featureWidth
        let features = try Tensor([dataset.count, width])
        let finished = try inference.run(dataset) { builder, batch in
            let images = Inputs.images(builder.graph, model.encoder.geometry, batch: batch)
            return try model.encoder.pooled(model.encoder.features(images, layer: nil, pooling: nil, builder), builder)
        } collect: {
            $1.copy($0, each: width, to: features.float32, first: $2)
        }
        guard finished else { throw Cancelled() }
        let compute = try options.compute()
        let found = try BalancedClusters.fit(
            features, clusters: mixture.clusters, seed: options.seed, compute: compute, what: "images")
        let parts = [
            (MixtureNames.mean, found.clusters.mean), (MixtureNames.whitening, found.clusters.whitening),
            (MixtureNames.clusters, found.clusters.centres),
        ]
        for (name, tensor) in parts { result.parameters[name]?.copyElements(of: tensor) }
        guard let embeddings = result.parameters[MixtureNames.embeddings] else { return }
        try embed(features, found.ids, mean: found.clusters.mean, into: embeddings)
    }

    /// Each cluster's mean feature without the mean of all, of length 1. Not the whitened centre: whitened centres are equally far from one
    /// another, which leaves a router nothing to generalise over.
    private static func embed(_ features: Tensor, _ numbers: Tensor, mean: Tensor, into embeddings: Tensor) throws {
        let (count, width) = (embeddings.shape[0], embeddings.shape[1])
        let memory = try Memory(checkedProduct([count, width]), elementBytes: 8, zeroed: true, for: "the means of \(count) clusters")
        let sums = memory.typed(Double.self)
        for image in 0..<features.shape[0] {
            let cluster = Int(numbers.int32[image])
            for i in 0..<width { sums[cluster * width + i] += Double(features.float32[image * width + i]) - Double(mean.float32[i]) }
        }
        for cluster in 0..<count {
            let row = sums[cluster * width..<(cluster + 1) * width]
            let length = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
            guard length > 0 else { continue }
            for i in 0..<width { embeddings.float32[cluster * width + i] = Float(sums[cluster * width + i] / length) }
        }
        withExtendedLifetime(memory) {}
    }

    // MARK: Experts of a task

    /// Suitability of the experts of a mixture for some images.
    public struct Suitability: Sendable {
        /// Images that go to each expert; empty where images are not what is routed.
        public var counts: [Int] = []
        /// Mean loss of each expert over the hidden patches of all images; empty where it was not asked for.
        public var losses: [Double] = []
    }

    /// nil when it was cancelled. `numbers` receives the expert of each image, -1 for one that cannot be read, beside the counts. Errors: `.state` without experts, for counts without routing by cluster, for losses without a decoder.
    public static func suitability(
        _ given: Inference, _ dataset: any ImageDataset, counts: Bool, losses: Bool, numbers: UnsafeMutableBufferPointer<Int32>? = nil
    ) throws -> Suitability? {
        let (model, mixture) = (given.model, try experts(given.model))
        var result = Suitability()
        if counts {
            guard mixture.routing == .cluster, let encoder = model.encoder as? any MixedEncoder else {
                throw MRPError(
                    .state, "moe_routing \(mixture.routing.rawValue) sends tokens to experts: images are counted with moe_routing cluster")
            }
            result.counts = Array(repeating: 0, count: mixture.experts)
            let finished = try given.run(dataset, as: Int32.self) { builder, batch in
                let images = Inputs.images(builder.graph, encoder.geometry, batch: batch)
                return try encoder.expertNumbers(images, builder)
            } collect: { found, batch, first in
                for image in 0..<batch.count {
                    let isThere = batch.holds(image, first: first)
                    if isThere { result.counts[Int(found[image])] += 1 }
                    numbers?[first + image] = isThere ? found[image] : -1
                }
            }
            guard finished else { return nil }
        }
        for expert in 0..<(losses ? mixture.experts : 0) {
            var inference = given
            inference.expert = expert
            guard let loss = try inference.reconstruct(dataset, into: .init()) else { return nil }
            result.losses.append(loss)
        }
        return result
    }

    /// The number of experts a model has. Errors: `.state` without.
    public static func experts(_ model: Model) throws -> Mixture {
        guard let mixture = model.mixture else { throw MRPError(.state, "the model has no experts: upcycle it first") }
        return mixture
    }

    /// One expert as an ordinary model: the mixture's other weights and this expert's MLPs. Errors: `.state` without experts, `.argument` for a
    /// number that there is not.
    public static func extracted(_ model: Model, expert: Int) throws -> Model {
        let mixture = try experts(model)
        guard let encoder = model.encoder as? any MixedEncoder, expert >= 0, expert < mixture.experts else {
            throw MRPError(.argument, "expert \(expert) is outside 0 ... \(mixture.experts - 1)")
        }
        return try remade(model, encoder.with(nil), seed: nil) { name in
            let source = MixtureNames.source(name, expert: expert)
            return model.parameters[source] == nil ? name : source
        }
    }

    // MARK: Weights

    private static func copy(_ from: Model, _ source: String, to: Model, _ name: String) {
        guard let target = to.parameters[name], let tensor = from.parameters[source], tensor.count == target.count else { return }
        target.copyElements(of: tensor)
    }

    /// The model with another encoder. `source` names the weight that a weight's numbers come from; they are fresh where the
    /// model has none of that name. An objective is kept
    /// where files keep it.
    private static func remade(
        _ model: Model, _ encoder: any ImageEncoder, seed: UInt64?, _ source: (String) -> String
    ) throws -> Model {
        var notes: [String] = []
        let kept = model.objective.flatMap { $0.isKeptInFiles ? $0 : nil }
        let objective = try kept?.adapted(to: encoder, from: model.encoder.geometry, &notes)
        try model.refresh?()
        let result = try Model(encoder: encoder, objective: objective, head: model.head, seed: seed)
        for specification in result.parameters.specifications {
            try Interruption.check()
            copy(model, source(specification.name), to: result, specification.name)
        }
        result.normalization = model.normalization
        result.pixels = model.pixels
        result.classNames = model.classNames
        result.labelType = model.labelType
        result.isPretrained = model.isPretrained
        return result
    }
}
