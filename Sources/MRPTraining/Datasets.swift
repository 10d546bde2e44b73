import CMRPImage
import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Datasets as the options describe them.
public enum Datasets {
    public static func synthetic(count: Int, seed: UInt64, _ options: Options) throws -> ImageDataset {
        try SyntheticDataset(
            count: count, classes: options[DataOptions.syntheticClasses], channels: options[NetworkOptions.channels],
            size: ImageSize(height: options[NetworkOptions.imageHeight], width: options[NetworkOptions.imageWidth]),
            singleViewFraction: options[DataOptions.syntheticSingleView], seed: seed,
            firstImage: options[DataOptions.syntheticFirstImage])
    }

    /// Says in the log which image files are not used.
    public static func folder(_ path: FilePath, _ options: Options) throws -> ImageDataset {
        try Interruption.check()
        let dataset = try ImageFolderDataset(
            path, layout: options[DataOptions.folderLayout], channels: options[NetworkOptions.channels],
            cacheBytes: options[DataOptions.cacheBytes], orients: options[DataOptions.exifOrientation],
            budget: DecodeBudget(bytes: options[DataOptions.decodeBytes], seconds: options[DataOptions.decodeSeconds]))
        for text in [dataset.leftOut, dataset.doubt] { if let text { Log.warning(text) } }
        return dataset
    }

    /// A folder of images with masks (`MaskFolder`).
    public static func masks(_ path: FilePath, _ options: Options) throws -> ImageDataset {
        try Interruption.check()
        var settings = MaskFolder.Settings()
        settings.kind = options[DataOptions.maskKind]
        settings.split = options[DataOptions.split]
        settings.channels = options.given(NetworkOptions.channels)
        settings.classes = options[NetworkOptions.classes]
        settings.ignored = Int32(options[DataOptions.ignoreLabel])
        settings.cacheBytes = options[DataOptions.cacheBytes]
        settings.orients = options[DataOptions.exifOrientation]
        settings.budget = DecodeBudget(bytes: options[DataOptions.decodeBytes], seconds: options[DataOptions.decodeSeconds])
        return try MaskFolder.open(path, settings)
    }

    /// Copies the ids of one image's mask. Errors: those of the dataset; `.argument` when mask and image differ in size.
    public static func copyMask(_ dataset: ImageDataset, _ index: Int, into output: UnsafeMutableBufferPointer<Int32>) throws {
        let workspace = ImageWorkspace()
        try dataset.load(index, into: workspace)
        try dataset.loadTarget(index, into: workspace)
        guard var target = workspace.target, let start = output.baseAddress,
            target.size == workspace.image.size, target.size.height * target.size.width == output.count
        else { throw MRPError(.argument, "\(dataset.name(of: index)): the pixel mask does not have the size of the image") }
        mi_ids_to_int32(&target, start)
    }

    /// Generated scenes with masks.
    public static func scenes(count: Int, seed: UInt64, _ options: Options) throws -> ImageDataset {
        try SceneDataset(
            count: count, channels: options[NetworkOptions.channels],
            size: ImageSize(height: options[NetworkOptions.imageHeight], width: options[NetworkOptions.imageWidth]),
            kind: options[DataOptions.maskKind], seed: seed, firstImage: options[DataOptions.syntheticFirstImage])
    }

    /// Generated point clouds.
    public static func shapes(count: Int, seed: UInt64, _ options: Options) throws -> ImageDataset {
        try PointDataset.shapes(
            count: count, points: options[PointDataOptions.points], seed: seed, first: options[DataOptions.syntheticFirstImage])
    }

    /// Copies the points of one cloud, point after point; `output` gives room for so many values.
    public static func copyPoints(
        _ dataset: ImageDataset, _ index: Int, into output: (_ values: Int) throws -> UnsafeMutableBufferPointer<Float>
    ) throws {
        let workspace = ImageWorkspace()
        try dataset.load(index, into: workspace)
        let cloud = workspace.image
        let values = Int(cloud.height * cloud.channels)
        guard let start = try output(values).baseAddress else { return }
        start.update(from: cloud.pixels.assumingMemoryBound(to: Float.self), count: values)
    }

    public static func pointFolder(_ path: FilePath, _ options: Options) throws -> ImageDataset {
        try Interruption.check()
        return try PointFolderDataset(
            path, features: options[PointDataOptions.pointFeatures], faceSamples: options[PointDataOptions.faceSamples])
    }

    /// Copies one image as floats, [C, H, W], at its own size; `output` gives room for so many values.
    public static func copyImage(
        _ dataset: ImageDataset, _ index: Int, into output: (_ values: Int) throws -> UnsafeMutableBufferPointer<Float>
    ) throws {
        let size = try dataset.size(of: index)
        try copy(
            dataset, first: index, count: 1, size: size, by: .resize(size: size),
            into: output(checkedProduct([dataset.channels, size.height, size.width], bytesEach: 4)))
    }

    /// Copies images first ..< first + count as floats, [count, C, H, W]; `augmentation` brings those of another size to `size`.
    public static func copy(
        _ dataset: ImageDataset, first: Int, count: Int, size: ImageSize, by augmentation: Augmentation? = nil,
        into output: UnsafeMutableBufferPointer<Float>
    ) throws {
        guard count > 0, let start = output.baseAddress else { return }
        let loader = try BatchLoader(
            RangeDataset(dataset, first: first, count: count),
            augmentation: dataset.imageSize == size ? .none : augmentation ?? .centerCrop(size: size),
            normalization: .identity(channels: dataset.channels), options: .evaluation(batchSize: min(count, 64), threads: 0))
        let values = dataset.channels * size.height * size.width
        var position = 0
        while true {
            switch try loader.next() {
            case .batch(let batch):
                (start + position * values).update(from: batch.images, count: batch.count * values)
                position += batch.count
            case .cancelled: throw Cancelled()
            case .end: return
            }
        }
    }
}
