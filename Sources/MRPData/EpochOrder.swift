import MRPEngine

/// The order of a dataset's images, epoch by epoch, and the slices of it that are this loader's part of each batch.
final class EpochOrder {
    let stepsPerEpoch: Int
    /// Samples of the largest part.
    let capacity: Int
    var bytes: Int { memory.bytes }

    private let dataset: ImageDataset
    private let options: LoaderOptions
    private let examples: Int
    private let memory: Memory
    private var epoch = -1

    /// Errors: `.argument` when an epoch has no batch, `.memory`.
    init(_ dataset: ImageDataset, _ options: LoaderOptions) throws {
        self.dataset = dataset
        self.options = options
        examples = options.sampler.examplesPerEpoch(of: dataset)
        let (full, rest) = max(examples, 0).quotientAndRemainder(dividingBy: options.batchSize)
        stepsPerEpoch = full + (rest > 0 && !options.dropLast ? 1 : 0)
        guard stepsPerEpoch > 0 else {
            let source = examples == dataset.count ? "the dataset" : "\(options.sampler.name)'s epoch"
            throw MRPError(.argument, "batch_size \(options.batchSize) is larger than \(source) of \(examples) images")
        }
        capacity = min(options.slice.count, examples)
        let bytes = try checkedProduct([examples, 8], "the order of \(examples) images", code: .argument)
        memory = try Memory(bytes: bytes, for: "the order of \(examples) images")
    }

    /// Fills in which images a batch has. An error of the sampler becomes the batch's.
    func begin(_ slot: LoaderSlot, epoch: Int, step: Int) {
        do {
            try write(epoch)
        } catch {
            slot.fail(epoch: epoch, step: step, error)
            return
        }
        let start = step * options.batchSize
        let slice = options.slice.cut(to: min(options.batchSize, examples - start))
        let order = memory.typed(Int64.self)
        slot.begin(epoch: epoch, step: step, slice, order: slice.places.lazy.map { order[start + $0] })
    }

    private func write(_ wanted: Int) throws {
        guard epoch != wanted else { return }
        epoch = -1
        let order = memory.typed(Int64.self)
        try options.sampler.writeOrder(of: dataset, seed: options.seed, epoch: wanted, into: order)
        for (place, index) in order.enumerated() where index < 0 || index >= dataset.count {
            throw MRPError(
                .argument, "sampler \(options.sampler.name) gives image \(index) at place \(place), outside 0 ..< \(dataset.count)")
        }
        epoch = wanted
    }
}
