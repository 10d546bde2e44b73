import CMRPImage
import CMRPKernels
import CMRPPoints
import MRPEngine

/// Point clouds in a folder: root/<class>/<name>.{npy,xyz,txt,pts,csv,ply,off}, any case, or all in one folder without classes. Classes and
/// files are sorted by their bytes. Files are read when a batch needs them; meshes give points drawn on their faces, the same every time.
public final class PointFolderDataset: ImageDataset {
    public let path: FilePath
    public let count: Int
    public let channels: Int
    public var imageSize: ImageSize? { nil }
    public var pixelType: PixelType? { .float32 }
    public var isPointCloud: Bool { true }
    public let classNames: [String]
    public var hasClassNames: Bool { !classNames.isEmpty }
    public var labels: UnsafeBufferPointer<Int32>? { classNames.isEmpty ? nil : UnsafeBufferPointer(labelMemory.typed(Int32.self)) }

    private let folders: [FolderListing]
    private let labelMemory: Memory
    private let faceSamples: Int

    /// Lists the files; none is read. `features`: values of each point beside x, y, z. Errors: `.io`, `.format` without files, `.argument`
    /// for files beside class folders, `.memory`.
    public init(_ path: FilePath, features: Int = 0, faceSamples: Int = 8192) throws {
        guard (0...Int(MP_MAX_CHANNELS) - 3).contains(features) else {
            throw MRPError(.argument, "point_features \(features) is outside 0 ... \(MP_MAX_CHANNELS - 3)")
        }
        guard (1...Int(MP_MAX_POINTS)).contains(faceSamples) else {
            throw MRPError(.argument, "face_samples \(faceSamples) is outside 1 ... \(MP_MAX_POINTS)")
        }
        (self.path, channels, self.faceSamples) = (path, 3 + features, faceSamples)
        (folders, classNames) = try Self.scan(path)
        let total = folders.last.map { $0.first + $0.count } ?? 0
        count = total
        labelMemory = try Memory(bytes: total * 4, for: "\(total) labels")
        let labels = labelMemory.typed(Int32.self)
        for (label, folder) in folders.enumerated() {
            for i in folder.first..<folder.first + folder.count { labels[i] = Int32(label) }
        }
    }

    private static func scan(_ path: FilePath) throws -> ([FolderListing], [String]) {
        let empty = { (folder: FilePath) in MRPError(.format, "\(folder.text): no .npy, .xyz, .txt, .pts, .csv, .ply or .off files") }
        let files = try FolderListing(path, MI_LIST_POINTS, first: 0)
        let classes = try FolderListing(path, MI_LIST_FOLDERS, first: 0)
        guard classes.count > 0 else {
            guard files.count > 0 else { throw empty(path) }
            return ([files], [])
        }
        guard files.count == 0 else {
            throw MRPError(
                .argument,
                "\(path.text): has \(files.count) point files beside \(classes.count) folders, such as '\(files.name(0))': a folder holds either"
            )
        }
        guard classes.count <= LabelStore.maximumClasses else {
            throw MRPError(.unsupported, "\(path.text): there are more class folders than \(LabelStore.maximumClasses)")
        }
        var folders: [FolderListing] = []
        for i in 0..<classes.count {
            try Interruption.check()
            let folder = try FolderListing(classes.path(i), MI_LIST_POINTS, first: folders.last.map { $0.first + $0.count } ?? 0)
            guard folder.count > 0 else { throw empty(folder.folder) }
            folders.append(folder)
        }
        return (folders, (0..<classes.count).map(classes.name))
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        let path = filePath(index)
        let (bytes, size) = try ImageFile.read(path, workspace)
        var reading = mp_reading(channels: Int64(channels), samples: Int64(faceSamples), seed: 0, file: UInt32(truncatingIfNeeded: index))
        var (points, failure) = (mp_points(), mi_error())
        let kind = path.withCString { mp_kind_of($0) }
        let status = mp_read(bytes, Int64(size), kind, &reading, &points, &failure)
        defer { mk_release(points.values) }
        if status == Int32(MI_CANCELLED) { throw Cancelled() }
        guard status == Int32(MI_OK), let values = points.values else { throw ImageFile.error(failure, path.text) }
        guard points.clouds == 1 else {
            throw MRPError(
                .format, "\(path.text): holds \(points.clouds) clouds, a file of a folder holds one: make a dataset of the array")
        }
        let made = try workspace.makeImage(ImageSize(height: Int(points.count), width: 1), channels: channels, type: .float32)
        made.pixels.copyMemory(from: values, byteCount: Int(points.count) * channels * 4)
        workspace.replace(made)
    }

    private func filePath(_ index: Int) -> FilePath {
        var (low, high) = (0, folders.count)
        while high - low > 1 {  // the last folder that begins at or before the file
            let middle = (low + high) / 2
            if folders[middle].first <= index { low = middle } else { high = middle }
        }
        return folders[low].path(index - folders[low].first)
    }

    public func name(of index: Int) -> String { filePath(index).text }
    public func path(of index: Int) -> FilePath? { filePath(index) }

    /// Without the folder's path, so that a dataset may be moved.
    public func fileName(of index: Int) -> String? {
        String(decoding: name(of: index).utf8.dropFirst(path.text.utf8.count).drop { $0 == UInt8(ascii: "/") }, as: UTF8.self)
    }
}
