import CMRPImage
import Glibc
import MRPEngine

/// JPEG and PNG files, told by their content. What becomes of gray, palettes, CMYK, 16 bits and alpha: `mi_decode.h`.
public enum ImageFile {
    public struct Info: Equatable, Sendable {
        public let size: ImageSize
        /// 1 or 3.
        public let channels: Int
        public let type: PixelType
    }

    static let maximumBytes = 1 << 30

    /// Reads the header only. Errors: `.io`, `.format`, `.unsupported` (larger than the limits), `.memory`; each names the file.
    ///
    /// - orients: whether size and pixels are those of the upright image, as EXIF notes in a JPEG how the camera was held.
    public static func probe(_ path: FilePath, _ workspace: ImageWorkspace, orients: Bool = true) throws -> Info {
        try Interruption.check()
        let (bytes, count) = try read(path, workspace)
        let info = try header(bytes, count, 0, path.text)
        return Info(
            size: info.size(oriented: orients), channels: Int(info.channels), type: PixelType(rawValue: info.type) ?? .uint8)
    }

    public static func probe(_ path: String, _ workspace: ImageWorkspace) throws -> Info { try probe(FilePath(path), workspace) }

    /// Makes the file's ids, a PNG, the target of the workspace's current image: gray, or the indices of a palette. Of a picture in colours the
    /// ids are places in `colours`, 3 bytes each. Errors: as `probe`; `.format` for a colour that is none of them, with the pixel.
    static func loadIds(_ path: FilePath, colours: [UInt8], ignored: Int32, into workspace: ImageWorkspace) throws {
        let (bytes, count) = try read(path, workspace)
        var info = mi_info(), failure = mi_error()
        guard mi_probe_labels(bytes, Int64(count), &info, &failure) == MI_OK.value else { throw error(failure, path.text) }
        try workspace.admit(&info, path.text)
        let size = info.size(oriented: false)
        let made = try workspace.makeTarget(size, channels: Int(info.channels), elementType: info.type)
        let status = mi_decode(bytes, Int64(count), &info, [made], &failure)
        if status == MI_CANCELLED.value { throw Cancelled() }
        guard status == MI_OK.value else { throw error(failure, path.text) }
        workspace.replaceTarget(made, fill: ignored)
        guard info.channels == 3 else { return }
        guard info.type == PixelType.uint8.rawValue, !colours.isEmpty else {
            throw MRPError(
                .format, "\(path.text): a mask of \(info.type == 0 ? 8 : 16)-bit colours, for which no labelmap.txt names classes")
        }
        let ids = try workspace.makeTarget(size, type: .uint16)
        let stranger = mi_colours_to_ids([made], colours, Int64(colours.count / 3), [ids])
        guard stranger < 0 else {
            let pixel = made.pixels.assumingMemoryBound(to: UInt8.self) + 3 * Int(stranger)
            throw MRPError(
                .format,
                "\(path.text): pixel (\(Int(stranger) / size.width), \(Int(stranger) % size.width)) has the colour (\(pixel[0]), \(pixel[1]), \(pixel[2])), which labelmap.txt does not list"
            )
        }
        workspace.replaceTarget(ids, fill: ignored)
    }

    /// The lines of a text file, without those that are empty. Errors: `.io`, `.format` for bytes that are no UTF-8, `.memory`.
    static func lines(_ path: FilePath) throws -> [String] {
        let workspace = ImageWorkspace()
        let (bytes, count) = try read(path, workspace)
        try Memory.check(count, bytesEach: 8, for: path.text)
        return try withExtendedLifetime(workspace) {
            guard let text = String(validating: UnsafeBufferPointer(start: bytes, count: count), as: UTF8.self) else {
                throw MRPError(.format, "\(path.text): not UTF-8")
            }
            return text.split(whereSeparator: \.isNewline).map { String($0.trimmed) }.filter { !$0.isEmpty }
        }
    }

    /// Makes the file's image the workspace's current one.
    ///
    /// `draftSide` above 0 lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size while its shorter side stays at least that long: faster
    /// for photographs, but not the pixels that resizing the whole image gives. Errors: as `probe`.
    public static func load(_ path: FilePath, into workspace: ImageWorkspace, draftSide: Int = 0, orients: Bool = true) throws {
        let (bytes, count) = try read(path, workspace)
        try decode(bytes, count, into: workspace, draftSide: draftSide, orients: orients, name: path.text)
    }

    public static func load(_ path: String, into workspace: ImageWorkspace, draftSide: Int = 0) throws {
        try load(FilePath(path), into: workspace, draftSide: draftSide)
    }

    /// The same from memory; `name` is what errors call it.
    public static func decode(
        _ bytes: UnsafePointer<UInt8>, _ count: Int, into workspace: ImageWorkspace, draftSide: Int = 0, orients: Bool = true, name: String
    ) throws {
        var info = try header(bytes, count, draftSide, name)
        let (channels, type) = (Int(info.channels), PixelType(rawValue: info.type) ?? .uint8)
        // The upright image beside the one that is decoded.
        if orients, info.orientation > 1 { info.working += info.height * info.width * Int64(channels * 2) }
        try workspace.admit(&info, name)
        var image = try workspace.makeImage(info.size(oriented: false), channels: channels, type: type)
        var failure = mi_error()
        let status = mi_decode(bytes, Int64(count), &info, &image, &failure)
        guard status == MI_OK.value else { throw error(failure, name) }
        workspace.replace(image)
        guard orients, info.orientation > 1 else { return }
        var upright = try workspace.makeImage(info.size(oriented: true), channels: channels, type: type)
        mi_orient(&image, info.orientation, &upright)
        workspace.replace(upright)
    }

    private static func header(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ draftSide: Int, _ name: String) throws -> mi_info {
        var info = mi_info(), failure = mi_error()
        let status = mi_probe(bytes, Int64(count), Int64(draftSide), &info, &failure)
        guard status == MI_OK.value else { throw error(failure, name) }
        return info
    }

    /// The error of a call, `Cancelled` where that was stopped.
    static func error(_ failure: mi_error, _ name: String) -> any Error {
        guard failure.code != MI_CANCELLED.value else { return Cancelled() }
        var failure = failure
        let text = withUnsafePointer(to: &failure) { FilePath.text(mi_error_text($0)) }
        return MRPError(MRPError.Code(rawValue: failure.code) ?? .internalError, "\(name): \(text)")
    }

    /// The whole file, in the workspace's memory.
    static func read(_ path: FilePath, _ workspace: ImageWorkspace) throws -> (UnsafePointer<UInt8>, Int) {
        func failure(_ what: String) -> MRPError { MRPError(.io, "\(path.text): \(what): \(String(cString: strerror(errno)))") }
        // Non-blocking: a pipe that someone named .jpg must not hang the loader.
        let file = path.withCString { open($0, O_RDONLY | O_CLOEXEC | O_NONBLOCK) }
        guard file >= 0 else { throw failure("cannot open") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw failure("cannot read") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw MRPError(.io, "\(path.text): not a regular file") }
        let size = Int(status.st_size)
        guard size <= maximumBytes else {
            throw MRPError(.unsupported, "\(path.text): \(size) bytes are above the limit of \(maximumBytes)")
        }
        let memory = try workspace.file.reserve(size, for: path.text)
        var done = 0
        while done < size {
            let got = Glibc.read(file, memory + done, size - done)
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw failure("cannot read") }
            if got == 0 { break }
            done += got
        }
        return (UnsafePointer(memory.assumingMemoryBound(to: UInt8.self)), done)
    }
}

extension Substring {
    /// Without spaces at both ends.
    fileprivate var trimmed: Substring {
        var rest = drop { $0.isWhitespace }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return rest
    }
}

extension mi_info {
    fileprivate func size(oriented: Bool) -> ImageSize {
        let (height, width) = (Int(height), Int(width))
        return oriented && orientation >= 5 ? ImageSize(height: width, width: height) : ImageSize(height: height, width: width)
    }
}

// C's anonymous enumerators arrive with different integer types.
extension BinaryInteger {
    fileprivate var value: Int32 { Int32(truncatingIfNeeded: self) }
}
