import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// The cluster of each image of a dataset, for models that route by them. Found once for a run, on the images without augmentation: a crop or a
/// flip changes no image's expert. The clusters are weights of the model, so a resumed run finds the same.
struct ImageClusters {
    private let numbers: Memory

    /// nil: the model does not route by clusters. Errors: `.argument` for batches that are smaller than the number of experts; `.memory`;
    /// `Cancelled`.
    init?(
        _ model: Model, _ dataset: any ImageDataset, _ options: Options, batch: Int, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws {
        guard let encoder = model.encoder as? any MixedEncoder, let mixture = encoder.mixture, mixture.routing == .cluster else {
            return nil
        }
        guard batch >= mixture.experts else {
            throw MRPError(
                .argument, "moe_experts \(mixture.experts) is over the batch of \(batch) images, each of which goes to one expert")
        }
        numbers = try Memory(dataset.count, elementBytes: 4, zeroed: true, for: "the clusters of \(dataset.count) images")
        let found = numbers.typed(Int32.self)
        let inference = Inference(model, options, cancel: cancel, poll: poll)
        let finished = try inference.run(dataset, as: Int32.self) { builder, batch in
            try encoder.clusterNumbers(Inputs.images(builder.graph, encoder.geometry, batch: batch), builder)
        } collect: { clusters, batch, first in
            for image in 0..<batch.count where batch.holds(image, first: first) { found[first + image] = clusters[image] }
        }
        guard finished else { throw Cancelled() }
        guard options[MixtureOptions.shuffled] else { return }
        var random = RandomIntegers(seed: options.seed, .clustering)
        for place in stride(from: found.count - 1, to: 0, by: -1) { found.swapAt(place, random.below(place + 1)) }
    }

    /// The input of a step whose images have these numbers in the dataset.
    func fill(_ program: any Program, _ indices: UnsafeBufferPointer<Int64>) throws {
        let known = numbers.typed(Int32.self)
        try program.withInput(MixtureNames.given, as: Int32.self) { clusters in
            for (image, index) in indices.enumerated() { clusters[image] = known[Int(index)] }
        }
    }
}
