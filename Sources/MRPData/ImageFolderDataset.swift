import CMRPImage
import CMRPKernels
import MRPEngine

/// Images in a folder: root/<class>/*.jpg (.jpeg, .jpe, .jfif, .png, any case), a tree of classes as root/<coarse>/<fine>/*.jpg, or all in one
/// folder without classes. Classes and files are sorted by their bytes, folder by folder, so that numbers and labels are the same on every
/// machine; hidden entries are left out.
public final class ImageFolderDataset: ImageDataset {
    public enum Layout: String, CaseIterable, Sendable {
        /// Classes when there are folders, a tree when these hold folders and no images, flat when there are only images; mixtures are refused.
        case automatic = "auto"
        case classes
        case flat
        /// Classes at any depth.
        case tree
    }

    public let path: FilePath
    public let count: Int
    public let channels: Int
    /// The size that the probed images have in common; nil when they differ. An image that deviates is reported when a batch needs it.
    public let imageSize: ImageSize?
    /// The size in the middle of the probed ones, by their shorter sides.
    public let usualSize: ImageSize?
    /// The type that the probed images have in common.
    public let pixelType: PixelType?
    /// Names of the folders, in a tree those on the way joined by "/"; bytes that are not UTF-8 appear as \xNN.
    public let classNames: [String]
    public var hasClassNames: Bool { !classNames.isEmpty }
    public var labels: UnsafeBufferPointer<Int32>? { classNames.isEmpty ? nil : UnsafeBufferPointer(labelMemory.typed(Int32.self)) }
    /// Bytes of decoded images held now.
    public var cachedBytes: Int { cache?.used ?? 0 }
    /// One line about the image files that are there and not used; nil without such.
    public let leftOut: String?
    /// One line about a tree that may be none; nil without doubt.
    public let doubt: String?

    private let folders: [FolderListing]
    private let labelMemory: Memory
    private let draftSide: Int
    private let orients: Bool
    private let cache: ImageCache?
    private let budget: DecodeBudget

    /// Lists the files (no image is decoded, up to 64 headers are read).
    ///
    /// - channels: 1 or 3, to which every image is converted; nil takes 1 when all probed images are gray, else 3.
    /// - cacheBytes: decoded images are kept in memory up to this limit.
    /// - draftSide, orients: see `ImageFile`.
    /// - budget: what decoding may take.
    ///
    /// Errors: `.io` when a folder is missing or cannot be read; `.format` when there are no images, or no probed file is one;
    /// `.argument`; `.memory`.
    public init(
        _ path: FilePath, layout: Layout = .automatic, channels: Int? = nil, cacheBytes: Int = 0, draftSide: Int = 0, orients: Bool = true,
        budget: DecodeBudget = DecodeBudget()
    ) throws {
        if let channels, channels != 1, channels != 3 { throw MRPError(.argument, "channels \(channels) is neither 1 nor 3") }
        guard cacheBytes >= 0 else { throw MRPError(.argument, "cache_bytes \(cacheBytes) is below 0") }
        guard (0...Int(MI_MAX_SIDE)).contains(draftSide) else {
            throw MRPError(.argument, "draft_side \(draftSide) is outside 0 ... \(MI_MAX_SIDE)")
        }
        (self.path, self.draftSide, self.orients, self.budget) = (path, draftSide, orients, budget)
        (folders, classNames, leftOut, doubt) = try Self.scan(path, layout)
        let total = folders.last.map { $0.first + $0.count } ?? 0
        count = total
        labelMemory = try Memory(bytes: total * 4, for: "\(total) labels")
        let labels = labelMemory.typed(Int32.self)
        for (label, folder) in folders.enumerated() {
            for i in folder.first..<folder.first + folder.count { labels[i] = Int32(label) }
        }
        cache = cacheBytes > 0 ? try ImageCache(count: total, limit: cacheBytes) : nil
        let found = try Self.probe(folders, count: total, orients: orients)
        self.channels = channels ?? (found.allSatisfy { $0.channels == 1 } ? 1 : 3)
        let size = found.allSatisfy { $0.size == found.first?.size } ? found.first?.size : nil
        imageSize = draftSide > 0 ? nil : size
        let sizes = found.map(\.size).sorted { min($0.height, $0.width) < min($1.height, $1.width) }
        usualSize = sizes.isEmpty ? nil : sizes[sizes.count / 2]
        pixelType = found.allSatisfy { $0.type == found.first?.type } ? found.first?.type : nil
    }

    public convenience init(
        _ path: String, layout: Layout = .automatic, channels: Int? = nil, cacheBytes: Int = 0, draftSide: Int = 0
    ) throws {
        try self.init(FilePath(path), layout: layout, channels: channels, cacheBytes: cacheBytes, draftSide: draftSide)
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        if let view = cache?[index] {
            workspace.show(view)
            return
        }
        workspace.finish()
        (workspace.budget, workspace.wantedChannels) = (budget, channels)
        try ImageFile.load(Self.path(of: index, in: folders), into: workspace, draftSide: draftSide, orients: orients)
        try workspace.convert(toChannels: channels)
        cache?.keep(workspace.image, at: index)
    }

    public func size(of index: Int) throws -> ImageSize {
        if let imageSize { return imageSize }
        guard draftSide == 0 else { return try loadedSize(of: index) }
        return try ImageFile.probe(Self.path(of: index, in: folders), ImageWorkspace(), orients: orients).size
    }

    public func name(of index: Int) -> String { Self.path(of: index, in: folders).text }
    public func path(of index: Int) -> FilePath? { Self.path(of: index, in: folders) }

    /// Without the folder's path, so that a dataset may be moved.
    public func fileName(of index: Int) -> String? {
        String(decoding: name(of: index).utf8.dropFirst(path.text.utf8.count).drop { $0 == UInt8(ascii: "/") }, as: UTF8.self)
    }

    // MARK: Scanning

    private static func scan(
        _ path: FilePath, _ layout: Layout
    ) throws -> ([FolderListing], [String], leftOut: String?, doubt: String?) {
        let images = try FolderListing(path, MI_LIST_IMAGES, first: 0)
        let classes = layout == .flat ? nil : try FolderListing(path, MI_LIST_FOLDERS, first: 0)
        var leftOut = FilesLeftOut(path)
        if layout == .flat || (layout == .automatic && classes?.count == 0) {
            guard images.count > 0 else { throw images.empty }
            try leftOut.add(images)
            return ([images], [], leftOut.text, nil)
        }
        guard let classes, classes.count > 0 else { throw MRPError(.format, "\(path.text): no class folders") }
        if layout == .automatic || layout == .tree, images.count > 0 {
            throw MRPError(
                .argument,
                "\(path.text): has \(images.count) images beside \(classes.count) folders, such as '\(images.name(0))': set folder_layout to classes or flat"
            )
        }
        leftOut.addBeside(images)
        let found = try ClassFolders(path, layout, in: classes, leftOut: leftOut)
        return (found.folders, found.names, found.leftOut.text, found.doubt)
    }

    /// Headers of at most 64 files, spread over the set.
    private static func probe(_ folders: [FolderListing], count: Int, orients: Bool) throws -> [ImageFile.Info] {
        let workspace = ImageWorkspace()
        let probes = min(count, 64)
        var found: [ImageFile.Info] = []
        var failure: Error?
        for i in 0..<probes {
            do {
                let path = path(of: i * (count - 1) / max(1, probes - 1), in: folders)
                found.append(try ImageFile.probe(path, workspace, orients: orients))
            } catch {
                failure = failure ?? error  // one bad file among good ones is reported when a batch needs it
            }
        }
        if found.isEmpty, let failure { throw failure }
        return found
    }

    private static func path(of index: Int, in folders: [FolderListing]) -> FilePath {
        var low = 0, high = folders.count
        while high - low > 1 {  // the last folder that begins at or before the image
            let middle = (low + high) / 2
            if folders[middle].first <= index { low = middle } else { high = middle }
        }
        return folders[low].path(index - folders[low].first)
    }
}
