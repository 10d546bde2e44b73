import CMRPImage
import MRPEngine

/// Another dataset whose images have pixel masks. Images are shared; its classes are those of the pixels (ground and object where masks tell objects
/// apart), and it has no labels of images.
public final class MaskedDataset: ImageDataset {
    public let base: ImageDataset
    public let masks: any PixelMasks
    public var count: Int { base.count }
    public var channels: Int { base.channels }
    public var imageSize: ImageSize? { base.imageSize }
    public var classNames: [String] { masks.classNames }
    public var hasClassNames: Bool { masks.hasClassNames }
    public var labels: UnsafeBufferPointer<Int32>? { nil }
    public var maskKind: MaskKind? { masks.kind }
    public var ignoredId: Int32 { masks.ignored }

    /// One mask for each image. Errors: `.argument` for another number of masks. A mask that has another size than its image is an error of the
    /// batch that needs it.
    public init(_ base: ImageDataset, _ masks: any PixelMasks) throws {
        guard masks.count == base.count else { throw MRPError(.argument, "\(masks.count) pixel masks were given for \(base.count) images") }
        (self.base, self.masks) = (base, masks)
    }

    /// With masks in memory: count x height x width ids, packed. Errors: those of `ArrayMasks`; `.argument` for another count or size than
    /// that of the images.
    public convenience init(
        _ base: ImageDataset, masks: UnsafeRawPointer, type: TargetType, count: Int, size: ImageSize, kind: MaskKind = .classes,
        fill: Int32 = 0,
        classes: Int? = nil, release: (() -> Void)? = nil
    ) throws {
        guard count == base.count else { throw MRPError(.argument, "\(count) pixel masks were given for \(base.count) images") }
        try self.init(
            base, ArrayMasks(masks, type: type, count: count, size: size, kind: kind, ignored: fill, classes: classes, release: release))
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws { try base.load(index, into: workspace) }

    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws {
        try masks.load(index, name: base.name(of: index), into: workspace)
    }

    public func size(of index: Int) throws -> ImageSize { try base.size(of: index) }
    public func name(of index: Int) -> String { base.name(of: index) }
    public func path(of index: Int) -> FilePath? { base.path(of: index) }
    public var pixelType: PixelType? { base.pixelType }
    public var usualSize: ImageSize? { base.usualSize }
    public var isPointCloud: Bool { base.isPointCloud }
    public func fileName(of index: Int) -> String? { base.fileName(of: index) }
}
