import CMRPImage
import CMRPKernels
import MRPEngine

/// Images in a folder: root/<class>/*.jpg (.jpeg, .png, any case), or all in one folder without classes. Classes and files are sorted by
/// their bytes, so that numbers and labels are the same on every machine; hidden entries are left out.
public final class ImageFolderDataset: ImageDataset {
    public enum Layout: Sendable {
        /// Classes when there are folders, flat when there are only images; both at once are refused.
        case automatic
        case classes
        case flat
    }

    public let path: String
    public let count: Int
    public let channels: Int
    /// The size that the probed images have in common; nil when they differ. An image that deviates is reported when a batch needs it.
    public let imageSize: ImageSize?
    public let classNames: [String]
    public var labels: UnsafeBufferPointer<Int32>? { classNames.isEmpty ? nil : UnsafeBufferPointer(labelMemory.typed(Int32.self)) }
    /// Bytes of decoded images held now.
    public var cachedBytes: Int { cache?.used ?? 0 }

    private let folders: [FolderListing]
    private let labelMemory: Memory
    private let draftSide: Int
    private let cache: ImageCache?

    /// Lists the files (no image is decoded, up to 64 headers are read).
    ///
    /// - channels: 1 or 3, to which every image is converted; nil takes 1 when all probed images are gray, else 3.
    /// - cacheBytes: decoded images are kept in memory up to this limit.
    /// - draftSide: see `ImageFile.load`.
    ///
    /// Errors: `.io` when a folder is missing or cannot be read; `.format` when there are no images, or no probed file is one;
    /// `.argument`; `.memory`.
    public init(_ path: String, layout: Layout = .automatic, channels: Int? = nil, cacheBytes: Int = 0, draftSide: Int = 0) throws {
        if let channels, channels != 1, channels != 3 { throw MRPError(.argument, "channels \(channels) is neither 1 nor 3") }
        guard cacheBytes >= 0 else { throw MRPError(.argument, "cache_bytes \(cacheBytes) is below 0") }
        guard (0...Int(MI_MAX_SIDE)).contains(draftSide) else {
            throw MRPError(.argument, "draft_side \(draftSide) is outside 0 ... \(MI_MAX_SIDE)")
        }
        self.path = path
        self.draftSide = draftSide
        (folders, classNames) = try Self.scan(path, layout)
        let total = folders.last.map { $0.first + $0.count } ?? 0
        count = total
        labelMemory = try Memory(bytes: total * 4, for: "\(total) labels")
        let labels = labelMemory.typed(Int32.self)
        for (label, folder) in folders.enumerated() {
            for i in folder.first..<folder.first + folder.count { labels[i] = Int32(label) }
        }
        cache = cacheBytes > 0 ? try ImageCache(count: total, limit: cacheBytes) : nil
        let (found, size) = try Self.probe(folders, count: total, channels: channels)
        self.channels = found
        imageSize = draftSide > 0 ? nil : size
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        if let view = cache?[index] {
            workspace.show(view)
            return
        }
        try ImageFile.load(name(of: index), into: workspace, draftSide: draftSide)
        try workspace.convert(toChannels: channels)
        cache?.keep(workspace.image, at: index)
    }

    public func name(of index: Int) -> String { Self.name(of: index, in: folders) }

    /// Without the folder's path, so that a dataset may be moved.
    public func fileName(of index: Int) -> String? {
        String(decoding: name(of: index).utf8.dropFirst(path.utf8.count).drop { $0 == UInt8(ascii: "/") }, as: UTF8.self)
    }

    // MARK: Scanning

    private static func scan(_ path: String, _ layout: Layout) throws -> ([FolderListing], [String]) {
        let images = try FolderListing(path, MI_LIST_IMAGES, first: 0)
        let classes = layout == .flat ? nil : try FolderListing(path, MI_LIST_FOLDERS, first: 0)
        if layout == .flat || (layout == .automatic && classes?.count == 0) {
            guard images.count > 0 else { throw MRPError(.format, "\(path): no .jpg, .jpeg or .png files") }
            return ([images], [])
        }
        guard let classes, classes.count > 0 else { throw MRPError(.format, "\(path): no class folders") }
        if layout == .automatic, images.count > 0 {
            throw MRPError(
                .argument, "\(path): has \(images.count) images beside \(classes.count) folders: say whether folders are classes")
        }
        guard classes.count <= LabelStore.maximumClasses else {
            throw MRPError(.unsupported, "\(path): \(classes.count) class folders are above the limit of \(LabelStore.maximumClasses)")
        }
        var folders: [FolderListing] = [], names: [String] = []
        var first = 0
        for i in 0..<classes.count {
            let folder = try FolderListing(classes.path(i), MI_LIST_IMAGES, first: first)
            guard folder.count > 0 else { throw MRPError(.format, "\(classes.path(i)): no .jpg, .jpeg or .png files") }
            first += folder.count
            folders.append(folder)
            names.append(classes.name(i))
        }
        return (folders, names)
    }

    /// Channels and common size, from at most 64 files spread over the set.
    private static func probe(_ folders: [FolderListing], count: Int, channels: Int?) throws -> (Int, ImageSize?) {
        let workspace = ImageWorkspace()
        let probes = min(count, 64)
        var found: [ImageFile.Info] = []
        var failure: Error?
        for i in 0..<probes {
            do {
                found.append(try ImageFile.probe(name(of: i * (count - 1) / max(1, probes - 1), in: folders), workspace))
            } catch {
                failure = failure ?? error  // one bad file among good ones is reported when a batch needs it
            }
        }
        if found.isEmpty, let failure { throw failure }
        let size = found.first?.size
        return (channels ?? (found.allSatisfy { $0.channels == 1 } ? 1 : 3), found.allSatisfy { $0.size == size } ? size : nil)
    }

    private static func name(of index: Int, in folders: [FolderListing]) -> String {
        var low = 0, high = folders.count
        while high - low > 1 {  // the last folder that begins at or before the image
            let middle = (low + high) / 2
            if folders[middle].first <= index { low = middle } else { high = middle }
        }
        return folders[low].path(index - folders[low].first)
    }
}

/// The sorted names of one folder, in C memory.
private final class FolderListing {
    let folder: String
    let first: Int
    let count: Int
    private let listing: UnsafeMutablePointer<mi_listing>

    init<What: BinaryInteger>(_ folder: String, _ what: What, first: Int) throws {
        var failure = mi_error()
        guard let listing = mi_list(folder, Int32(what), &failure) else { throw ImageFile.error(failure, folder) }
        self.folder = folder
        self.first = first
        self.listing = listing
        count = Int(listing.pointee.count)
    }

    deinit { mi_listing_free(listing) }

    func name(_ i: Int) -> String { listing.pointee.names[i].map { String(cString: $0) } ?? "" }
    func path(_ i: Int) -> String { folder.hasSuffix("/") ? folder + name(i) : "\(folder)/\(name(i))" }
}
