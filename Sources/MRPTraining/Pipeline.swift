import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Way from the images of a dataset to batches for a model: checks that they fit, normalisation, augmentation, loader.
enum Pipeline {
    static func check(_ dataset: ImageDataset, fits model: Model) throws {
        guard dataset.count > 0 else { throw MRPError(.argument, "the dataset has no images") }
        let (channels, wantsPoints) = (model.encoder.geometry.channels, model.encoder.pointGroups != nil)
        guard dataset.isPointCloud == wantsPoints else {
            let (given, wanted) = wantsPoints ? ("images", "point clouds") : ("point clouds", "images")
            throw MRPError(.argument, "the dataset holds \(given), a \(model.encoder.family.name) takes \(wanted)")
        }
        guard dataset.channels == channels else {
            throw MRPError(.argument, "the images have \(dataset.channels) channels, the model takes \(channels)")
        }
        // Graphs have some hundred bytes for each of some dozen nodes of a weight, and index lists of the patches.
        try Memory.check(model.parameters.specifications.count, bytesEach: 16 << 10, for: "the graph of the network")
        try Memory.check(model.encoder.geometry.count, bytesEach: 64, for: "the indices of \(model.encoder.geometry.count) patches")
    }

    /// Compares the units of images with those that the model was trained on, as far as they are known, and says or refuses what does not fit.
    /// Errors: `.argument`.
    static func checkPixels(_ dataset: ImageDataset, _ model: Model, _ options: Options) throws {
        let check = options[DataOptions.pixelCheck]
        guard check != .ignore, !dataset.isPointCloud, let own = model.pixels ?? model.normalization.map({ PixelRange($0) }),
            let found = PixelRange.measured(on: dataset)
        else { return }
        switch own.verdict(on: found.range, images: found.images) {
        case .fits: return
        case .wrong(let text) where check == .refuse:
            throw MRPError(.argument, "\(text): bring them into the model's units (or set pixel_check to warn)")
        case .wrong(let text), .doubtful(let text): Log.warning(text)
        }
    }

    /// Remembers the units of the images that a model is first trained on. Images that do not fit those of before are refused.
    static func establishPixels(_ model: Model, _ dataset: ImageDataset, _ options: Options) throws {
        try checkPixels(dataset, model, options)
        if model.pixels == nil, !dataset.isPointCloud { model.pixels = PixelRange.measured(on: dataset)?.range }
    }

    /// Gives the model its normalisation if it has none: the options' mean and std, or what is measured on the dataset.
    static func establishNormalization(
        _ model: Model, _ dataset: ImageDataset, _ options: Options, cancel: UnsafePointer<Int32>?, poll: (() -> Void)?
    ) throws {
        guard model.normalization == nil else { return }
        guard !dataset.isPointCloud else {
            // Clouds are moved into the unit ball instead.
            model.normalization = .identity(channels: dataset.channels)
            return
        }
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
        _ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase, slice: BatchSlice, views: TrainingViews,
        readsPixelTargets: Bool = false
    ) throws -> BatchLoader {
        let normalization = normalization(model)
        var settings = LoaderOptions(
            batchSize: slice.total, seed: options.seed,
            sampler: try Samplers.registry.entry(options[DataOptions.sampler]).make(dataset, options),
            threads: options[DataOptions.loaderThreads])
        settings.slice = slice
        settings.skipsUnreadable = skipsUnreadable(options)
        settings.views = views.count
        settings.targets = readsPixelTargets
        let usual = try trainingAugmentation(dataset, model, options, phase, normalization)
        let sides = try views.bySide.isEmpty ? [] : contrastiveAugmentations(dataset, model, options, phase, views, else: usual)
        let augmentations = [Augmentation](repeating: usual, count: views.plain) + views.bySide.map { sides[$0] }
        return try BatchLoader(dataset, augmentations: augmentations, normalization: normalization, options: settings)
    }

    /// Augmentation of the views that a contrastive loss compares, of either side. Where the sides are not alike and images are not small, blur and
    /// solarize are those of Grill et al. 2020 (BYOL).
    private static func contrastiveAugmentations(
        _ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase, _ views: TrainingViews, else usual: Augmentation
    ) throws -> [Augmentation] {
        let fits = dataset.channels == 3 && dataset.pixelType ?? .uint8 == .uint8
        guard !dataset.isPointCloud, options[DataOptions.viewAugmentation] ?? (fits ? .contrastive : .same) == .contrastive else {
            return [usual, usual]
        }
        let (low, high) = (options[DataOptions.cropScaleMin, phase], options[DataOptions.cropScaleMax, phase])
        guard low <= high else { throw MRPError(.argument, "crop_scale_min \(low) is above crop_scale_max \(high)") }
        var augmentation = Augmentation.randomResizedCropFlip(size: imageSize(model), scale: low...high)
        if !augmentationKind(dataset, model, options, phase).isMirrored { augmentation.steps.removeLast() }
        augmentation.steps.append(ColorJitter(strength: 0.4, hue: 0.1, probability: 0.8))
        let size = imageSize(model)
        let isBlurred = views.bySide.contains(1) && min(size.height, size.width) >= 64
        return try (0..<2).map { side in
            var result = augmentation
            result.steps += try changes(
                options, phase, side: side, grayscale: 0.2, blur: isBlurred ? [1, 0.1] : [0], solarize: isBlurred ? [0, 0.2] : [0])
            return result
        }
    }

    /// Changes that only some images get, as the options say, else as given.
    private static func changes(
        _ options: Options, _ phase: Phase, side: Int = 0, grayscale: Double = 0, blur: [Double] = [0], solarize: [Double] = [0]
    ) throws -> [RandomChange] {
        func share(_ kind: RandomChange.Kind, _ shares: [Double]) throws -> RandomChange {
            guard shares.count == 1 || shares.count == 2 else {
                throw MRPError(.argument, "\(kind.rawValue) has \(shares.count) numbers: it takes one, or one for each of two sides")
            }
            return RandomChange(kind, probability: shares[shares.count == 1 ? 0 : side])
        }
        return try [
            RandomChange(.grayscale, probability: options[DataOptions.grayscale, phase] ?? grayscale),
            share(.blur, options[DataOptions.blur, phase] ?? blur), share(.solarize, options[DataOptions.solarize, phase] ?? solarize),
        ].filter { $0.probability != 0 }
    }

    /// Augmentation of training images.
    private static func trainingAugmentation(
        _ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase, _ normalization: Normalization
    ) throws -> Augmentation {
        if let groups = model.encoder.pointGroups { return try PointGrouping(groups, options, phase).augmentation }
        let size = imageSize(model)
        let sameSize = dataset.imageSize == size
        let kind = augmentationKind(dataset, model, options, phase)
        var augmentation: Augmentation
        switch kind {
        case .padCropFlip, .padCrop:
            guard sameSize else {
                throw MRPError(.argument, "augmentation \(kind.rawValue) needs images of the network's size \(size)")
            }
            augmentation = .padCropFlip(padding: options[DataOptions.cropPadding, phase])
        case .randomResizedCropFlip, .randomResizedCrop:
            let (low, high) = (options[DataOptions.cropScaleMin, phase], options[DataOptions.cropScaleMax, phase])
            guard low <= high else { throw MRPError(.argument, "crop_scale_min \(low) is above crop_scale_max \(high)") }
            augmentation = .randomResizedCropFlip(size: size, scale: low...high)
        case .randomCropFlip, .randomCrop: augmentation = .randomCropFlip(size: size)
        case .none, .flip:
            augmentation = Augmentation(try evaluationAugmentation(dataset, model, options).steps + [HorizontalFlip()])
        }
        if !kind.isMirrored { augmentation.steps.removeLast() }
        try add(to: &augmentation, options, phase, normalization)
        return augmentation
    }

    /// What option `augmentation` says, or the usual one.
    static func augmentationKind(_ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase) -> Augmentation.Kind {
        options[DataOptions.augmentation, phase] ?? (dataset.imageSize == imageSize(model) ? .padCropFlip : .randomResizedCropFlip)
    }

    /// Images as evaluation takes them.
    static func evaluationAugmentation(_ dataset: ImageDataset, _ model: Model, _ options: Options) throws -> Augmentation {
        if let groups = model.encoder.pointGroups { return try PointGrouping(groups, options, nil).augmentation }
        let size = imageSize(model)
        return dataset.imageSize == size ? .none : .centerCrop(size: size, part: options[DataOptions.evaluationCrop])
    }

    /// One line for each default that is a guess which these images may not fit.
    static func doubts(_ dataset: ImageDataset, _ model: Model, _ options: Options, _ phase: Phase) -> [String] {
        if dataset.isPointCloud { return [] }
        var doubts: [String] = []
        let size = imageSize(model)
        if let usual = dataset.usualSize, min(usual.height, usual.width) >= 4 * min(size.height, size.width) {
            doubts.append("the images are about \(usual), the network sees \(size): a larger image_size keeps their details")
        }
        let kind = augmentationKind(dataset, model, options, phase)
        if phase == .finetune, options[DataOptions.augmentation, phase] == nil, kind.isMirrored {
            let other = kind == .padCropFlip ? Augmentation.Kind.padCrop : .randomResizedCrop
            doubts.append(
                "training mirrors images left and right (augmentation \(kind.rawValue) is the default): where that changes a class set \(other.rawValue)"
            )
        }
        return doubts
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
        augmentation.steps += try changes(options, phase)
        let probability = options[DataOptions.randomErasing, phase]
        if probability > 0 {
            let mode = options[DataOptions.erasingMode, phase]
            augmentation.finishing.append(RandomErasing(probability: probability, mode: mode))
        }
    }

    /// Every image once, in order; with a `view` as fine-tuning augments them in that epoch. With `skipsUnreadable` another image is in the
    /// place of one that cannot be read, as its number in the batch tells. `whole`: all of each image, not its centre.
    static func evaluationLoader(
        _ dataset: ImageDataset, _ model: Model, _ options: Options, batch: Int, view: Int? = nil, skipsUnreadable: Bool = false,
        whole: Bool = false
    ) throws -> BatchLoader {
        let normalization = normalization(model)
        var settings = LoaderOptions.evaluation(batchSize: batch, threads: options[DataOptions.loaderThreads])
        settings.skipsUnreadable = skipsUnreadable
        settings.targets = false
        guard let view else {
            let size = imageSize(model)
            let augmentation =
                try whole
                ? (dataset.imageSize == size ? .none : .resize(size: size)) : evaluationAugmentation(dataset, model, options)
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
