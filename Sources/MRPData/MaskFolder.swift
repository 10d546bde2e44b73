import CMRPImage
import MRPEngine

/// A folder of images with masks in the layout of VOC, which CVAT writes too ("Segmentation mask 1.1"):
///
///     JPEGImages/NAME.jpg (or images/)                     .jpg, .jpeg, .png ...
///     SegmentationClass/NAME.png (or masks/)               ids of classes: gray of 1 to 16 bits, a palette, or the colours of labelmap.txt
///     SegmentationObject/NAME.png (or objects/)            where objects are wanted: their ids, the same, or the colours of VOC's palette
///     ImageSets/Segmentation/SPLIT.txt                     the names of a part, one a line
///     labelmap.txt                                         name:r,g,b:: for each class, in the order of the ids
///
/// An image without a mask is unlabelled: all its pixels are ignored.
public enum MaskFolder {
    static let imageFolders = ["JPEGImages", "images"]
    static func maskFolders(_ kind: MaskKind) -> [String] {
        kind == .objects ? ["SegmentationObject", "objects"] : ["SegmentationClass", "masks"]
    }

    public struct Settings: Sendable {
        public var kind = MaskKind.classes
        /// Name of the part of the images; empty: all.
        public var split = ""
        public var channels: Int?
        /// Number of the classes, where there is no labelmap.txt; nil: all masks are looked at.
        public var classes: Int?
        public var ignored: Int32 = 255
        public var cacheBytes = 0
        public var orients = true
        public var budget = DecodeBudget()

        public init() {}
    }

    /// Errors: `.io` when a folder is missing or cannot be read; `.format` when there are no images or masks, a split names an image that is not
    /// there, or a mask that had to be looked at is none; `.argument`; `.memory`.
    public static func open(_ path: FilePath, _ settings: Settings) throws -> ImageDataset {
        let imageFolder = try folder(imageFolders, in: path), maskFolder = try folder(maskFolders(settings.kind), in: path)
        let images = try ImageFolderDataset(
            imageFolder, layout: .flat, channels: settings.channels, cacheBytes: settings.cacheBytes, orients: settings.orients,
            budget: settings.budget)
        let masks = try MaskFiles(
            maskFolder, labelMap: try settings.kind == .objects ? .ofObjects : LabelMap(path),
            images: FolderListing(imageFolder, MI_LIST_IMAGES, first: 0), settings)
        let all = try MaskedDataset(images, masks)
        guard !settings.split.isEmpty else { return all }
        return try SubsetDataset(all, indices: members(settings.split, of: path, in: FolderListing(imageFolder, MI_LIST_IMAGES, first: 0)))
    }

    private static func folder(_ names: [String], in path: FilePath) throws -> FilePath {
        let folders = try FolderListing(path, MI_LIST_FOLDERS, first: 0)
        for name in names {
            if let place = folders.place(of: Array(name.utf8CString.dropLast())) { return folders.path(place) }
        }
        throw MRPError(.format, "\(path.text): no folder \(names.joined(separator: " or "))")
    }

    /// The numbers of the images that a split names, in its order.
    private static func members(_ split: String, of path: FilePath, in images: FolderListing) throws -> [Int64] {
        guard !split.utf8.contains(UInt8(ascii: "/")) else { throw MRPError(.argument, "split '\(split)' is no name of a file") }
        let file = path.entry("ImageSets").entry("Segmentation").entry(split + ".txt")
        let names = try ImageFile.lines(file)
        guard !names.isEmpty else { throw MRPError(.format, "\(file.text): names no image") }
        return try names.map { name in
            let stem = Array(name.utf8CString.dropLast())
            for end in [".jpg", ".png", ".jpeg", ".JPG", ".PNG", ".JPEG", ".jpe", ".jfif"] {
                if let place = images.place(of: stem + end.utf8CString.dropLast()) { return Int64(place) }
            }
            throw MRPError(.format, "\(file.text): names '\(name)', of which \(images.folder.text) has no image")
        }
    }
}

/// Names and colours of classes, in the order of their ids.
struct LabelMap {
    let names: [String]
    /// 3 bytes of each class; empty where the file gives none.
    let colours: [UInt8]

    /// labelmap.txt of a folder; without it there are no names. Errors: `.format`, which names the line; `.io`; `.memory`.
    init(_ path: FilePath) throws {
        let file = path.entry("labelmap.txt")
        guard file.exists else {
            (names, colours) = ([], [])
            return
        }
        var (names, colours): ([String], [UInt8]) = ([], [])
        for line in try ImageFile.lines(file) where !line.hasPrefix("#") {
            let parts = line.split(separator: ":", omittingEmptySubsequences: false)
            let numbers = parts.count > 1 ? parts[1].split(separator: ",").map { UInt8($0.filter { !$0.isWhitespace }) } : []
            guard !parts[0].isEmpty, numbers.isEmpty || (numbers.count == 3 && !numbers.contains(nil)) else {
                throw MRPError(.format, "\(file.text): '\(line)' is not name:red,green,blue::")
            }
            guard !names.contains(String(parts[0])) else { throw MRPError(.format, "\(file.text): names '\(parts[0])' twice") }
            guard names.count < PixelClasses.most else {
                throw MRPError(.unsupported, "\(file.text): names more than \(PixelClasses.most) classes")
            }
            names.append(String(parts[0]))
            colours += numbers.compactMap { $0 }
        }
        guard !names.isEmpty else { throw MRPError(.format, "\(file.text): names no class") }
        guard colours.isEmpty || colours.count == 3 * names.count else {
            throw MRPError(.format, "\(file.text): gives some classes a colour and others none")
        }
        (self.names, self.colours) = (names, colours)
    }

    private init(names: [String], colours: [UInt8]) { (self.names, self.colours) = (names, colours) }

    /// The palette of VOC, by which files in colours tell objects apart: bits 0, 1, 2 of an id are the highest bits of red, green and blue, and
    /// so on.
    static let ofObjects = LabelMap(names: PixelClasses.ofObjects, colours: (0..<256).flatMap { id in (0..<3).map { shade(id, $0) } })

    private static func shade(_ id: Int, _ channel: Int) -> UInt8 {
        let bits = (0..<3).map { bit -> Int in ((id >> (3 * bit + channel)) & 1) << (7 - bit) }
        return UInt8(bits.reduce(0, +))
    }
}

/// Masks in files, read when they are needed.
public final class MaskFiles: PixelMasks {
    public let count: Int
    public let kind: MaskKind
    public let classNames: [String]
    public let hasClassNames: Bool
    public let ignored: Int32

    private let files: FolderListing
    private let colours: [UInt8]
    private let budget: DecodeBudget
    /// The number of each image's file, -1 where it has none.
    private let places: Memory

    init(_ folder: FilePath, labelMap: LabelMap, images: FolderListing, _ settings: MaskFolder.Settings) throws {
        files = try FolderListing(folder, MI_LIST_IMAGES, first: 0)
        (kind, count, ignored, colours, budget) = (settings.kind, images.count, settings.ignored, labelMap.colours, settings.budget)
        places = try Memory(images.count, elementBytes: 4, for: "the masks of \(images.count) images")
        let places = places.typed(Int32.self)
        var found = 0
        for index in 0..<images.count {
            let place = files.place(of: images.path(index).stem + ".png".utf8CString.dropLast())
            places[index] = Int32(place ?? -1)
            found += place == nil ? 0 : 1
        }
        guard found > 0 else {
            throw MRPError(
                .format, "\(folder.text): of its \(files.count) files none is called as an image, such as '\(images.name(0))' with .png")
        }
        if found < files.count { Log.warning("\(folder.text): \(files.count - found) of \(files.count) files are masks of no image") }
        hasClassNames = !labelMap.names.isEmpty
        if let classes = settings.classes, hasClassNames, kind == .classes, classes != labelMap.names.count {
            throw MRPError(.argument, "classes is \(classes), labelmap.txt names \(labelMap.names.count)")
        }
        classNames =
            hasClassNames
            ? labelMap.names
            : try PixelClasses.numbers(settings.classes ?? Self.largestId(files, places, settings) + 1)
    }

    /// The largest id of all masks.
    private static func largestId(
        _ files: FolderListing, _ places: UnsafeMutableBufferPointer<Int32>, _ settings: MaskFolder.Settings
    ) throws -> Int {
        let workspace = ImageWorkspace()
        var largest: Int32 = -1
        for place in places where place >= 0 {
            try Interruption.check()
            workspace.budget = settings.budget
            try ImageFile.loadIds(files.path(Int(place)), colours: [], ignored: settings.ignored, into: workspace)
            guard let view = workspace.target else { continue }
            var (low, high) = (Int32(0), Int32(0))
            mi_id_range([view], settings.ignored, &low, &high)
            largest = max(largest, high)
            workspace.finish()
        }
        guard largest >= 1 else {
            throw MRPError(
                .argument,
                "\(files.folder.text): without labelmap.txt or option classes the masks tell how many classes there are, and they hold no id but 0 and \(settings.ignored), which is ignored: set classes, or ignore_label to -1 where \(settings.ignored) is a class"
            )
        }
        return Int(largest)
    }

    public func load(_ index: Int, name: String, into workspace: ImageWorkspace) throws {
        let place = places.typed(Int32.self)[index]
        guard place >= 0 else {
            let type: TargetType = TargetType.allCases.first { $0.range.contains(ignored) } ?? .int32
            let blank = try workspace.makeTarget(workspace.image.size, type: type)
            mi_fill_ids([blank], ignored)
            return workspace.replaceTarget(blank, fill: ignored)
        }
        let path = files.path(Int(place))
        try ImageFile.loadIds(path, colours: colours, ignored: ignored, into: workspace)
        guard let view = workspace.target else { return }
        let limit = kind == .objects ? PixelClasses.most : classNames.count
        try PixelClasses.check(view, classes: limit, ignored: ignored, path.text)
        guard view.size == workspace.image.size else {
            throw MRPError(.format, "\(path.text): the mask is \(view.size), its image \(name) is \(workspace.image.size)")
        }
    }
}
