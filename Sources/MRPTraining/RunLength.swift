import MRPOptions

/// Size of the batches and number of epochs where the options leave them open. Fine-tuning often has few images: batches of the usual size would
/// make one step of an epoch, and the usual epochs a handful of steps.
enum RunLength {
    static let usualBatch = 128
    static let smallestBatch = 16
    static let usualEpochs = 20.0
    /// Batches of an epoch, and steps of a run, that fine-tuning has at least.
    static let leastBatches = 8
    static let leastSteps = 400

    /// Images per batch.
    static func batch(_ options: Options, _ phase: Phase, images: Int) -> Int {
        if let given = options[TrainingOptions.batchSize, phase] { return min(given, images) }
        var batch = usualBatch
        while phase == .finetune, batch > smallestBatch, images < leastBatches * batch { batch /= 2 }
        return min(batch, images)
    }

    /// Images of a batch by which the learning rate is scaled: of a batch that was made smaller here the rate follows the square root, as is usual
    /// for Adam, since the linear rule made it too low to learn the images in these steps.
    static func rateImages(_ options: Options, _ phase: Phase, batch: Int) -> Double {
        let isOurs = phase == .finetune && options[TrainingOptions.batchSize, phase] == nil && batch < usualBatch
        return isOurs ? Double(batch * usualBatch).squareRoot() : Double(batch)
    }

    static func epochs(_ options: Options, _ phase: Phase, stepsPerEpoch: Int) -> Double {
        if let given = options[TrainingOptions.epochs, phase] { return given }
        guard phase == .finetune, stepsPerEpoch > 0 else { return usualEpochs }
        return max(usualEpochs, Double((leastSteps + stepsPerEpoch - 1) / stepsPerEpoch))
    }
}
