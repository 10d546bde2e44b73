import CMRPImage
import MRPEngine

/// Another dataset whose images have pixel masks: ids of classes or instances. Images and labels are shared.
public final class MaskedDataset: ImageDataset {
    public let base: ImageDataset
    public let maskSize: ImageSize
    public let type: TargetType
    /// The id of pixels that an augmentation brings in from outside of the image.
    public let fill: Int32
    public var count: Int { base.count }
    public var channels: Int { base.channels }
    public var imageSize: ImageSize? { base.imageSize }
    public var classNames: [String] { base.classNames }
    public var hasClassNames: Bool { base.hasClassNames }
    public var labelType: String { base.labelType }
    public var labels: UnsafeBufferPointer<Int32>? { base.labels }
    public var hasTargets: Bool { true }

    private let owned: Memory?
    private let ids: UnsafeRawPointer
    private let release: (() -> Void)?
    private var bytesPerMask: Int { maskSize.height * maskSize.width * type.bytes }

    /// Masks at `masks`: count x height x width ids, packed, for all images of `base`.
    ///
    /// Without `release` they are copied; with it they are borrowed until the dataset goes away, which then calls it (an error here leaves
    /// them with the caller). Errors: `.argument` for counts, sizes or a fill out of range; `.memory`. A mask that has another size than its
    /// image is an error of the batch that needs it.
    public init(
        _ base: ImageDataset, masks: UnsafeRawPointer, type: TargetType, count: Int, size: ImageSize, fill: Int32 = 0,
        release: (() -> Void)? = nil
    ) throws {
        guard count == base.count else { throw MRPError(.argument, "\(count) pixel masks were given for \(base.count) images") }
        try size.check("pixel mask")
        guard type.range.contains(fill) else {
            throw MRPError(.argument, "fill \(fill) is outside \(type.range.lowerBound) ... \(type.range.upperBound)")
        }
        guard Int(bitPattern: masks) % type.bytes == 0 else {
            throw MRPError(.argument, "the array of masks is not aligned to its \(type.bytes)-byte elements")
        }
        let total = try checkedProduct(
            [count, size.height, size.width, type.bytes], "an array of \(count) masks of \(size)", code: .argument)
        (self.base, maskSize, self.type, self.fill, self.release) = (base, size, type, fill, release)
        if release == nil {
            let memory = try Memory(bytes: total, for: "\(count) masks of \(size)")
            memory.base.copyMemory(from: masks, byteCount: total)
            (owned, ids) = (memory, UnsafeRawPointer(memory.base))
        } else {
            (owned, ids) = (nil, masks)
        }
    }

    deinit { release?() }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws { try base.load(index, into: workspace) }

    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws {
        let mask = UnsafeMutableRawPointer(mutating: ids + index * bytesPerMask)
        workspace.showTarget(PixelView(ids: mask, maskSize, type: type), fill: fill)
    }

    public func name(of index: Int) -> String { base.name(of: index) }
    public func path(of index: Int) -> FilePath? { base.path(of: index) }
    public var pixelType: PixelType? { base.pixelType }
    public var usualSize: ImageSize? { base.usualSize }
    public var isPointCloud: Bool { base.isPointCloud }
    public func fileName(of index: Int) -> String? { base.fileName(of: index) }
}
