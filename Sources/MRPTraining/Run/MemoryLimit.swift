import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// The memory of a run against `memory_limit`, before its first step.
enum MemoryLimit {
    /// A trainer that keeps within the limit. Errors: those of `Trainer.init`; `.memory` with the largest batch that fits.
    static func trainer(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, _ phase: Phase, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws -> Trainer {
        let limit = options[RunOptions.memoryLimit]
        func make(_ batch: Int? = nil) throws -> Trainer {
            var changed = options
            if let batch { try changed.set(TrainingOptions.batchSize, phase, batch) }
            return try Trainer(model, dataset, changed, phase, cancel: cancel, poll: poll)
        }
        guard limit > 0 else { return try make() }
        let batch: Int
        let needed: Int
        do {
            let trainer = try make()
            if trainer.allBytes <= limit { return trainer }
            (batch, needed) = (trainer.batch, trainer.allBytes)
        }
        /// Bytes with a batch; what cannot even be allocated does not fit.
        func bytes(_ batch: Int) throws -> Int {
            do {
                return try make(batch).allBytes
            } catch let error as MRPError where error.code == .memory {
                return .max
            }
        }
        var (fits, tooLarge) = (0, batch)
        while tooLarge - fits > 1 {
            let middle = (fits + tooLarge) / 2
            if try bytes(middle) <= limit { fits = middle } else { tooLarge = middle }
        }
        let advice =
            fits > 0
            ? "the largest batch_size that fits is \(fits); accumulation_steps makes up for it"
            : "batch_size 1 takes \(try bytes(1)) bytes"
        throw MRPError(.memory, "training with batch_size \(batch) takes \(needed) bytes, memory_limit is \(limit): \(advice)")
    }
}
