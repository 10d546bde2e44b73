import MRPData
import MRPEngine
import MRPModels
import MRPOptions

extension MeasuredWeights {
    /// Measures on the data, once, the weights that are due. False when it was cancelled.
    func measure(
        _ model: Model, _ dataset: any ImageDataset, _ options: Options, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws -> Bool {
        guard isDue(model.parameters) else { return true }
        let chosen = try Self.sample(dataset, count: min(sampleSize, dataset.count))
        let sample = try Tensor([chosen.count] + model.encoder.geometry.imageShape)
        let loader = try Pipeline.evaluationLoader(chosen, model, options, batch: min(64, chosen.count))
        let size = sample.count / chosen.count
        var first = 0
        while case .batch(let data) = try loader.next(cancel: cancel) {
            (sample.memory + 4 * size * first).copyMemory(from: data.images, byteCount: 4 * size * data.count)
            first += data.count
            poll?()
        }
        guard first == chosen.count else { return false }
        try measure(sample, model.parameters, options.backend(), options.seed)
        return true
    }

    /// Images evenly spread over the dataset, so that folders sorted by class give some of each.
    private static func sample(_ dataset: any ImageDataset, count: Int) throws -> any ImageDataset {
        guard count < dataset.count else { return dataset }
        return try SubsetDataset(dataset, indices: (0..<count).map { $0 * dataset.count / count })
    }
}
