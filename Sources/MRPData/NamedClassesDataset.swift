import MRPEngine

/// Another dataset whose classes have the given names; images and labels are shared.
public final class NamedClassesDataset: ImageDataset {
    public let base: ImageDataset
    public let classNames: [String]
    public var count: Int { base.count }
    public var channels: Int { base.channels }
    public var imageSize: ImageSize? { base.imageSize }
    public var labels: UnsafeBufferPointer<Int32>? { base.labels }

    /// Errors: `.state` when the dataset has no labels; `.argument` when there are fewer names than classes, or an empty one.
    public init(_ base: ImageDataset, names: [String]) throws {
        guard base.labels != nil else { throw MRPError(.state, "the dataset has no labels whose classes could be named") }
        guard names.count >= base.classCount, names.count <= LabelStore.maximumClasses else {
            throw MRPError(.argument, "\(names.count) names were given for \(base.classCount) classes")
        }
        if let empty = names.firstIndex(of: "") { throw MRPError(.argument, "the name of class \(empty) is empty") }
        self.base = base
        classNames = names
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws { try base.load(index, into: workspace) }

    public var hasTargets: Bool { base.hasTargets }

    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws { try base.loadTarget(index, into: workspace) }

    public func name(of index: Int) -> String { base.name(of: index) }

    public func fileName(of index: Int) -> String? { base.fileName(of: index) }
}
