import MRPData
import MRPEngine
import MRPModels

extension Objectives {
    /// Measures on the data what the objective wants measured, once. False when it was cancelled.
    static func measure(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws -> Bool {
        guard let objective = model.objective as? any MeasuredObjective, objective.needsMeasurement(model.parameters) else { return true }
        let chosen = try sample(dataset, count: min(objective.sampleSize, dataset.count))
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
        try objective.measure(sample, into: model.parameters, backend: CPUBackend(options.compute()), seed: options.seed)
        return true
    }

    /// Images evenly spread over the dataset, so that folders sorted by class give some of each.
    private static func sample(_ dataset: ImageDataset, count: Int) throws -> ImageDataset {
        guard count < dataset.count else { return dataset }
        return try SubsetDataset(dataset, indices: (0..<count).map { $0 * dataset.count / count })
    }
}
