import MRPEngine

/// A collection of images, with or without labels. Images may differ in size, never in their number of channels.
/// `load` is called from several threads at the same time, each with its own workspace.
public protocol ImageDataset: AnyObject {
    var count: Int { get }
    var channels: Int { get }
    /// The size of every image, or nil when they differ.
    var imageSize: ImageSize? { get }
    /// One name per class: of the images, or in a dataset with pixel masks and without labels of their pixels; else empty.
    var classNames: [String] { get }
    /// True when the classes have names of their own; else they are called by their numbers.
    var hasClassNames: Bool { get }
    /// Type of the labels that the names of the classes stand for: "str", "int", or another type of labels in the words of who named them.
    var labelType: String { get }
    /// One label per image, each in 0 ..< classNames.count, or nil. Valid as long as the dataset.
    var labels: UnsafeBufferPointer<Int32>? { get }
    /// Makes image `index` (in 0 ..< count) the workspace's current image. Errors: `.io`, `.format`, `.memory`, `.unsupported`.
    func load(_ index: Int, into workspace: ImageWorkspace) throws
    /// The name of image `index` in an error: its file, or its number.
    func name(of index: Int) -> String
    /// The file of image `index`; nil for one that has none.
    func path(of index: Int) -> FilePath?
    /// Storage of the values of every image; nil where images differ, or that is not known.
    var pixelType: PixelType? { get }
    /// The size that most images have about; nil where that is not known.
    var usualSize: ImageSize? { get }
    /// The name of image `index` inside of its dataset, where it is a file: it stands for the contents in `ContentDigest`.
    func fileName(of index: Int) -> String?
    /// True when images are point clouds: one row for each point, one column, channels x, y, z and features, float32.
    var isPointCloud: Bool { get }
    /// Meaning of the ids of the pixel masks, where every image has one, which `loadTarget` gives; nil: there are no masks.
    var maskKind: MaskKind? { get }
    /// Makes the pixel mask of image `index`, which is the workspace's current image, the workspace's target: `showTarget`, or `makeTarget`
    /// and `replaceTarget`. It has one id (a class or an object, see `maskKind`) per pixel of the image. Errors: as `load`.
    func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws
    /// The id of pixels that belong to no class: they are neither learned nor measured.
    var ignoredId: Int32 { get }
    /// The size of image `index`, as `load` gives it. Errors: as `load`.
    func size(of index: Int) throws -> ImageSize
}

extension ImageDataset {
    public var classCount: Int { classNames.count }
    public var hasClassNames: Bool { classNames.enumerated().contains { $1 != String($0) } }
    public var labelType: String { hasClassNames ? "str" : "int" }
    public func name(of index: Int) -> String { "image \(index)" }
    public func path(of index: Int) -> FilePath? { nil }
    public var pixelType: PixelType? { nil }
    public var usualSize: ImageSize? { imageSize }
    public func fileName(of index: Int) -> String? { nil }
    public var isPointCloud: Bool { false }
    public var maskKind: MaskKind? { nil }
    public var hasTargets: Bool { maskKind != nil }
    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws {}
    public var ignoredId: Int32 { -1 }

    /// Errors: `.argument` when there are no masks, or masks of another kind.
    public func requireMasks(_ kind: MaskKind, for purpose: String) throws {
        guard let own = maskKind else { throw MRPError(.argument, "\(purpose) needs pixel masks, the dataset has none") }
        guard own == kind else {
            throw MRPError(
                .argument, "\(purpose) needs masks of \(kind.rawValue), these are of \(own.rawValue): set mask_kind to \(kind.rawValue)")
        }
    }

    public func size(of index: Int) throws -> ImageSize {
        try imageSize ?? loadedSize(of: index)
    }

    func loadedSize(of index: Int) throws -> ImageSize {
        let workspace = ImageWorkspace()
        try load(index, into: workspace)
        return workspace.image.size
    }
}

/// Labels in memory of their own, checked.
final class LabelStore {
    private let memory: Memory
    let classNames: [String]
    var buffer: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(memory.typed(Int32.self)) }

    static let maximumClasses = 1 << 20

    /// Copies `labels`. Without names or a number of classes, the largest label tells how many there are.
    init(copying labels: UnsafeBufferPointer<Int32>, classCount: Int?, classNames: [String]?) throws {
        if let classCount, let classNames, classCount != classNames.count {
            throw MRPError(.argument, "\(classNames.count) class names were given for \(classCount) classes")
        }
        var classes = classCount ?? classNames?.count ?? 0
        let known = classCount != nil || classNames != nil
        guard classes >= (known ? 1 : 0), classes <= Self.maximumClasses else {
            throw MRPError(.argument, "classes \(classes) is outside 1 ... \(Self.maximumClasses)")
        }
        let limit = known ? classes : Self.maximumClasses
        for (i, label) in labels.enumerated() {
            guard label >= 0, Int(label) < limit else {
                throw MRPError(.argument, "label \(label) of image \(i) is outside 0 ..< \(limit)")
            }
            classes = max(classes, Int(label) + 1)
        }
        try Memory.check(classes, bytesEach: 64, for: "the names of \(classes) classes")
        memory = try Memory(bytes: labels.count * 4, for: "\(labels.count) labels")
        _ = memory.typed(Int32.self).initialize(from: labels)
        self.classNames = classNames ?? (0..<classes).map(String.init)
    }
}
