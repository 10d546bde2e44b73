import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Way from the images of a dataset to batches for a model: checks that they fit, normalisation, augmentation, loader.
enum Pipeline {
    static func check(_ dataset: ImageDataset, fits model: Model) throws {
        guard dataset.count > 0 else { throw MRPError(.argument, "the dataset has no images") }
        let channels = model.encoder.geometry.channels
        guard dataset.channels == channels else {
            throw MRPError(.argument, "the images have \(dataset.channels) channels, the model takes \(channels)")
        }
        // Graphs have some hundred bytes for each of some dozen nodes of a weight, and index lists of the patches.
        try Memory.check(model.parameters.specifications.count, bytesEach: 16 << 10, for: "the graph of the network")
        try Memory.check(model.encoder.geometry.count, bytesEach: 64, for: "the indices of \(model.encoder.geometry.count) patches")
    }

    /// Gives the model its normalisation if it has none: the options' mean and std, or what is measured on the dataset.
    static func establishNormalization(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws {
        guard model.normalization == nil else { return }
        model.normalization = try normalization(dataset, options, cancel: cancel, poll: poll)
    }

    private static func normalization(
        _ dataset: ImageDataset, _ options: Options, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws -> Normalization? {
        let (mean, std) = (options[DataOptions.mean], options[DataOptions.std])
        for (name, given) in [("mean", mean), ("std", std)] {
            if let given, given.count != dataset.channels {
                throw MRPError(.argument, "\(name) has \(given.count) numbers, the images have \(dataset.channels) channels")
            }
        }
        if let bad = std?.first(where: { $0 <= 0 }) { throw MRPError(.argument, "std \(bad) must be positive") }
        if let mean, let std { return Normalization(mean: mean, std: std) }
        let heartbeat = poll.map { Heartbeat($0) }
        guard
            let measured = try Normalization.measured(
                on: dataset, skipsUnreadable: skipsUnreadable(options), cancel: cancel, poll: heartbeat?.beat)
        else { throw Cancelled() }
        return Normalization(mean: mean ?? measured.mean, std: std ?? measured.std)
    }

    static func normalization(_ model: Model) -> Normalization {
        model.normalization ?? .identity(channels: model.encoder.geometry.channels)
    }

    static func imageSize(_ model: Model) -> ImageSize {
        ImageSize(height: model.encoder.geometry.height, width: model.encoder.geometry.width)
    }

    static func trainingLoader(
        _ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase, slice: BatchSlice
    ) throws -> BatchLoader {
        let normalization = normalization(model)
        var settings = LoaderOptions(
            batchSize: slice.total, seed: options.seed,
            sampler: try Samplers.registry.entry(options[DataOptions.sampler]).make(dataset, options),
            threads: options[DataOptions.loaderThreads])
        settings.slice = slice
        settings.skipsUnreadable = skipsUnreadable(options)
        return try BatchLoader(
            dataset, augmentation: trainingAugmentation(dataset, model, options, phase, normalization),
            normalization: normalization, options: settings)
    }

    /// Augmentation of training images.
    private static func trainingAugmentation(
        _ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase, _ normalization: Normalization
    ) throws -> Augmentation {
        let size = imageSize(model)
        let sameSize = dataset.imageSize == size
        let kind = options[DataOptions.augmentation, phase] ?? (sameSize ? .padCropFlip : .randomResizedCropFlip)
        var augmentation: Augmentation
        switch kind {
        case .padCropFlip:
            guard sameSize else {
                throw MRPError(.argument, "augmentation pad_crop_flip needs images of the network's size \(size)")
            }
            augmentation = .padCropFlip(padding: options[DataOptions.cropPadding, phase])
        case .randomResizedCropFlip:
            let (low, high) = (options[DataOptions.cropScaleMin, phase], options[DataOptions.cropScaleMax, phase])
            guard low <= high else { throw MRPError(.argument, "crop_scale_min \(low) is above crop_scale_max \(high)") }
            augmentation = .randomResizedCropFlip(size: size, scale: low...high)
        case .none, .flip:
            var steps = sameSize ? [] : Augmentation.centerCrop(size: size).steps
            if kind == .flip { steps.append(HorizontalFlip()) }
            augmentation = Augmentation(steps)
        }
        try add(to: &augmentation, options, phase, normalization)
        return augmentation
    }

    static func skipsUnreadable(_ options: Options) -> Bool { options[DataOptions.unreadableImages] == .skip }

    /// Steps after crop and flip, in timm's order.
    private static func add(
        to augmentation: inout Augmentation, _ options: Options, _ phase: Phase, _ normalization: Normalization
    ) throws {
        let text = options[DataOptions.randAugment, phase]
        if !text.isEmpty {
            var step = try RandAugment(text)
            step.fill = normalization.mean.map { UInt8(max(0, min(255, (255 * Float($0)).rounded(.toNearestOrEven)))) }
            augmentation.steps.append(step)
        }
        let jitter = ColorJitter(strength: options[DataOptions.colorJitter, phase], hue: options[DataOptions.hueJitter, phase])
        if jitter.strength > 0 || jitter.hue > 0 { augmentation.steps.append(jitter) }
        let probability = options[DataOptions.randomErasing, phase]
        if probability > 0 {
            let mode = options[DataOptions.erasingMode, phase]
            augmentation.finishing.append(RandomErasing(probability: probability, mode: mode))
        }
    }

    /// Every image once, in order; with a `view` as fine-tuning augments them in that epoch.
    static func evaluationLoader(
        _ dataset: ImageDataset, _ model: Model, _ options: Options, batch: Int, view: Int? = nil
    ) throws -> BatchLoader {
        let size = imageSize(model)
        let normalization = normalization(model)
        var settings = LoaderOptions.evaluation(batchSize: batch, threads: options[DataOptions.loaderThreads])
        guard let view else {
            let augmentation = dataset.imageSize == size ? Augmentation.none : .centerCrop(size: size)
            return try BatchLoader(dataset, augmentation: augmentation, normalization: normalization, options: settings)
        }
        (settings.seed, settings.epochs) = (options.seed, view + 1)
        let loader = try BatchLoader(
            dataset, augmentation: trainingAugmentation(dataset, model, options, .finetune, normalization),
            normalization: normalization, options: settings)
        try loader.seek(epoch: view, step: 0)
        return loader
    }
}
