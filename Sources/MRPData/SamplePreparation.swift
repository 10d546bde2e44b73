import CMRPImage
import MRPEngine

/// From a dataset's image to a network's input: loads, augments each view, normalises. Used by all loader threads at the same time.
final class SamplePreparation {
    let dataset: ImageDataset
    let valuesPerView: Int
    /// Ids of a view's pixels; 0 without targets.
    let idsPerView: Int
    private let augmentations: [Augmentation]
    private let options: LoaderOptions
    private let size: ImageSize
    private let channels: Int
    private let normalization: Memory

    init(
        _ dataset: ImageDataset, _ augmentations: [Augmentation], _ normalization: Normalization, _ options: LoaderOptions,
        size: ImageSize
    ) throws {
        (self.dataset, self.augmentations, self.options, self.size) = (dataset, augmentations, options, size)
        channels = dataset.channels
        valuesPerView = try checkedProduct([channels, size.height, size.width], "an image of \(channels) x \(size)", code: .argument)
        idsPerView = dataset.hasTargets && options.targets ? size.height * size.width : 0
        self.normalization = try Self.table(normalization, channels: channels)
    }

    /// Rows of scale and shift per pixel type: x * scale + shift = (x / range - mean) / std, with mean and std rounded to float.
    private static func table(_ normalization: Normalization, channels: Int) throws -> Memory {
        let memory = try Memory(bytes: PixelType.allCases.count * 2 * channels * 4, for: "the normalization of \(channels) channels")
        let table = memory.typed(Float.self)
        for type in PixelType.allCases {
            for c in 0..<channels {
                let row = Int(type.rawValue) * 2 * channels
                let (mean, std) = (Double(Float(normalization.mean[c])), Double(Float(normalization.std[c])))
                table[row + c] = Float(1 / (type.range * std))
                table[row + channels + c] = Float(-mean / std)
            }
        }
        return memory
    }

    /// Makes image `index` and its target those of the workspace.
    func load(_ index: Int, _ workspace: ImageWorkspace) throws {
        workspace.removeTarget()
        try dataset.load(index, into: workspace)
        guard idsPerView > 0 else { return }
        try dataset.loadTarget(index, into: workspace)
        guard let target = workspace.target else { throw MRPError(.argument, "\(dataset.name(of: index)) has no pixel mask") }
        guard target.size == workspace.image.size else {
            throw MRPError(
                .argument, "\(dataset.name(of: index)): the pixel mask is \(target.size), the image \(workspace.image.size)")
        }
    }

    /// Writes all views of the workspace's image, which is image `index`, to a position of the batch.
    func prepare(_ slot: LoaderSlot, _ position: Int, index: Int, _ workspace: ImageWorkspace) throws {
        if options.views > 1 { workspace.keep() }
        for view in 0..<options.views {
            if view > 0 { workspace.restore() }
            let augmentation = augmentations[augmentations.count == 1 ? 0 : view]
            let place = position * options.views + view
            guard let values = slot.images.baseAddress.map({ $0 + place * valuesPerView }) else { return }
            try augmentation.apply(workspace, seed: options.seed, epoch: slot.epoch, sample: index, view: view)
            try write(workspace, to: values, index)
            augmentation.finish(
                values, channels: channels, size: size, seed: options.seed, epoch: slot.epoch, sample: index, view: view)
            if idsPerView > 0, let ids = slot.targets.baseAddress { try writeTarget(workspace, to: ids + place * idsPerView, index) }
        }
        slot.indices[position] = Int64(index)
        slot.labels[position] = dataset.labels?[index] ?? -1
    }

    private func write(_ workspace: ImageWorkspace, to values: UnsafeMutablePointer<Float>, _ index: Int) throws {
        var image = workspace.image
        guard image.size == size, image.channels == Int64(channels) else {
            throw MRPError(
                .argument, "\(dataset.name(of: index)) is \(image.channels) x \(image.size) after augmentation, not \(channels) x \(size)")
        }
        let row = normalization.typed(Float.self).baseAddress.map { $0 + Int(image.type) * 2 * channels }
        mi_normalize(&image, row, row.map { $0 + channels }, values)
    }

    private func writeTarget(_ workspace: ImageWorkspace, to ids: UnsafeMutablePointer<Int32>, _ index: Int) throws {
        guard var target = workspace.target, target.size == size else {
            throw MRPError(.argument, "\(dataset.name(of: index)): a step of the augmentation did not move the pixel mask")
        }
        mi_ids_to_int32(&target, ids)
    }
}
