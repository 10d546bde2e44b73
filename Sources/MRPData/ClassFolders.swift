import CMRPImage
import MRPEngine

/// The folders that hold the images of the classes below a root. In a tree a class is called by the folders on the way to it: cat/persian.
struct ClassFolders {
    private(set) var folders: [FolderListing] = []
    private(set) var names: [String] = []
    private(set) var leftOut: FilesLeftOut

    private let root: FilePath
    private let layout: ImageFolderDataset.Layout
    private var depths: [Int] = []
    /// Names of the folders in the root.
    private var first: [String] = []

    private static let deepest = 16
    private static let parts: Set = ["train", "training", "test", "testing", "val", "valid", "validation", "dev"]

    /// Errors: `.io`, `.format` without folders or images, `.argument` for classes at different depths where the layout does not allow that,
    /// `.unsupported` for too many classes.
    init(_ root: FilePath, _ layout: ImageFolderDataset.Layout, in listing: FolderListing, leftOut: FilesLeftOut) throws {
        (self.root, self.layout, self.leftOut) = (root, layout, leftOut)
        for i in 0..<listing.count {
            first.append(listing.name(i))
            try add(listing.path(i), listing.name(i), depth: 1)
        }
        if layout == .automatic, let flat = depths.firstIndex(of: depths.min() ?? 0), let deep = depths.firstIndex(of: depths.max() ?? 0),
            depths[flat] < depths[deep]
        {
            throw MRPError(
                .argument,
                "\(root.text): '\(names[flat])' holds images and '\(names[deep])' lies deeper: set folder_layout to tree where both are classes"
            )
        }
    }

    /// A tree whose folders look like parts of a dataset; nil where they do not.
    var doubt: String? {
        guard depths.contains(where: { $0 > 1 }), first.allSatisfy({ Self.parts.contains($0.lowercased()) }) else { return nil }
        return
            "\(root.text): \(first.map { "'\($0)'" }.joined(separator: ", ")) are taken for classes, as in '\(names[0])': open each by itself if they are parts of a dataset"
    }

    private mutating func add(_ path: FilePath, _ name: String, depth: Int) throws {
        try Interruption.check()
        let images = try FolderListing(path, MI_LIST_IMAGES, first: folders.last.map { $0.first + $0.count } ?? 0)
        guard images.count == 0, images.hasFolders, layout != .classes else { return try addClass(images, name, depth) }
        guard depth < Self.deepest else {
            throw MRPError(.format, "\(path.text): a class lies \(Self.deepest) folders below \(root.text) at most")
        }
        let inner = try FolderListing(path, MI_LIST_FOLDERS, first: 0)
        guard inner.count > 0 else { throw images.empty }
        leftOut.addBeside(images)
        for i in 0..<inner.count { try add(inner.path(i), "\(name)/\(inner.name(i))", depth: depth + 1) }
    }

    private mutating func addClass(_ images: FolderListing, _ name: String, _ depth: Int) throws {
        guard images.count > 0 else { throw images.empty }
        guard layout != .tree || !images.hasFolders else {
            throw MRPError(
                .argument,
                "\(images.folder.text): has \(images.count) images beside folders, such as '\(images.name(0))': in folder_layout tree a folder holds either"
            )
        }
        guard names.count < LabelStore.maximumClasses else {
            throw MRPError(.unsupported, "\(root.text): there are more class folders than \(LabelStore.maximumClasses)")
        }
        try leftOut.add(images)
        folders.append(images)
        names.append(name)
        depths.append(depth)
    }
}
