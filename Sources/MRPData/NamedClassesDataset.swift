import MRPEngine

/// Another dataset whose classes, of images or of pixels, have the given names, with its labels or others; images are shared.
public final class NamedClassesDataset: ImageDataset {
    public let base: ImageDataset
    public let classNames: [String]
    public var hasClassNames: Bool { true }
    public let labelType: String
    public var count: Int { base.count }
    public var channels: Int { base.channels }
    public var imageSize: ImageSize? { base.imageSize }
    public var labels: UnsafeBufferPointer<Int32>? {
        labelMemory.map { UnsafeBufferPointer($0.typed(Int32.self)) } ?? base.labels
    }
    private let labelMemory: Memory?

    /// Errors: `.state` when the dataset has no labels; `.argument` when there are fewer names than classes, an empty one, one that is there
    /// twice, or a type that is no word of 1 ... 64 bytes.
    public init(_ base: ImageDataset, names: [String], labelType: String = "str") throws {
        guard base.labels != nil || base.hasTargets else {
            throw MRPError(.state, "the dataset has neither labels nor masks whose classes could be named")
        }
        guard names.count >= base.classCount, names.count <= LabelStore.maximumClasses else {
            throw MRPError(.argument, "\(names.count) names were given for \(base.classCount) classes")
        }
        if let empty = names.firstIndex(of: "") { throw MRPError(.argument, "the name of class \(empty) is empty") }
        guard Set(names.map { Array($0.utf8) }).count == names.count else {
            throw MRPError(.argument, "two classes have the same name: \(ClassMatch.list(names))")
        }
        guard (1...64).contains(labelType.utf8.count), labelType.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else {
            throw MRPError(.argument, "type '\(labelType)' of labels is no word of 1 ... 64 ASCII characters")
        }
        self.base = base
        self.labelType = labelType
        labelMemory = nil
        classNames = names
    }

    /// With labels of its own: one Int32 per image, each a place in `names`, which differ.
    public init(_ base: ImageDataset, labels: Memory, names: [String]) {
        (self.base, labelMemory, classNames, labelType) = (base, labels, names, "str")
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws { try base.load(index, into: workspace) }

    public var maskKind: MaskKind? { base.maskKind }

    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws { try base.loadTarget(index, into: workspace) }

    public var ignoredId: Int32 { base.ignoredId }

    public func size(of index: Int) throws -> ImageSize { try base.size(of: index) }

    public func name(of index: Int) -> String { base.name(of: index) }
    public func path(of index: Int) -> FilePath? { base.path(of: index) }
    public var pixelType: PixelType? { base.pixelType }
    public var usualSize: ImageSize? { base.usualSize }
    public var isPointCloud: Bool { base.isPointCloud }
    public func fileName(of index: Int) -> String? { base.fileName(of: index) }
}
