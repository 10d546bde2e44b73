import CMRPImage
import MRPEngine

/// Meaning of the ids of pixel masks.
public enum MaskKind: String, CaseIterable, Sendable {
    /// Classes: 0, 1, ...
    case classes
    /// Objects, whatever they are: 0 is the ground, each other id of an image is one of its objects.
    case objects
}

/// Pixel masks of a dataset's images: one id of a class, or of an object, per pixel.
public protocol PixelMasks: AnyObject {
    var kind: MaskKind { get }
    /// One for each image.
    var count: Int { get }
    var classNames: [String] { get }
    /// True when the classes have names of their own; else they are called by their numbers.
    var hasClassNames: Bool { get }
    /// The id of pixels that belong to no class, such as those that an augmentation brings in from outside of the image.
    var ignored: Int32 { get }
    /// Makes mask `index` the target of the workspace's current image, which is called `name` in errors. Without a mask all its pixels are
    /// ignored. Errors: `.io`, `.format`, `.memory`, `.unsupported`.
    func load(_ index: Int, name: String, into workspace: ImageWorkspace) throws
}

enum PixelClasses {
    static let most = 65_536
    /// The classes of pixels where masks tell objects apart.
    static let ofObjects = ["ground", "object"]

    /// Names of classes that are called by their numbers. Errors: `.argument`, `.memory`.
    static func numbers(_ count: Int) throws -> [String] {
        guard (1...most).contains(count) else { throw MRPError(.argument, "\(count) classes of pixels are outside 1 ... \(most)") }
        try Memory.check(count, bytesEach: 64, for: "the names of \(count) classes")
        return (0..<count).map(String.init)
    }

    /// Refuses ids that are no class and not ignored. Errors: `.format`, which names the mask, the id and the pixel.
    static func check(_ view: PixelView, classes: Int, ignored: Int32, _ name: String) throws {
        let pixel = mi_first_id_beyond([view], Int64(classes), ignored)
        guard pixel >= 0 else { return }
        let (row, column) = (Int(pixel) / view.size.width, Int(pixel) % view.size.width)
        throw MRPError(
            .format,
            "\(name): pixel (\(row), \(column)) has the id \(mi_id_at([view], pixel)), outside \(Self.range(classes)) and not the ignored \(ignored)"
        )
    }

    static func range(_ count: Int) -> String { count == most ? "0 ..< \(most)" : "the classes 0 ..< \(count)" }
}

/// Masks in memory.
public final class ArrayMasks: PixelMasks {
    public let count: Int
    public let size: ImageSize
    public let type: TargetType
    public let ignored: Int32
    public let kind: MaskKind
    public let classNames: [String]
    public var hasClassNames: Bool { kind == .objects }

    private let owned: Memory?
    private let ids: UnsafeRawPointer
    private let release: (() -> Void)?
    private let bytesPerMask: Int

    /// `count` x height x width ids at `ids`, packed.
    ///
    /// - classes: their number; nil: one more than the largest id. Not read for objects.
    ///
    /// Without `release` they are copied; with it they are borrowed until these masks go away, which then calls it (an error here leaves
    /// them with the caller). Errors: `.argument` for counts, sizes, ids or `ignored` out of range; `.memory`.
    public init(
        _ ids: UnsafeRawPointer, type: TargetType, count: Int, size: ImageSize, kind: MaskKind = .classes, ignored: Int32,
        classes: Int? = nil, release: (() -> Void)? = nil
    ) throws {
        try size.check("pixel mask")
        guard type.range.contains(ignored) else {
            throw MRPError(
                .argument,
                "ignore_label \(ignored) is outside \(type.range.lowerBound) ... \(type.range.upperBound), which these masks can hold")
        }
        guard Int(bitPattern: ids) % type.bytes == 0 else {
            throw MRPError(.argument, "the array of masks is not aligned to its \(type.bytes)-byte elements")
        }
        bytesPerMask = try checkedProduct([size.height, size.width, type.bytes], "a mask of \(size)", code: .argument)
        let total = try checkedProduct([count, bytesPerMask], "an array of \(count) masks of \(size)", code: .argument)
        let classes = kind == .objects ? nil : classes
        let found = try Self.classes(ids, type, count, size, bytesPerMask, ignored: ignored, limit: classes ?? PixelClasses.most)
        classNames = try kind == .objects ? PixelClasses.ofObjects : PixelClasses.numbers(classes ?? max(found, 1))
        (self.count, self.size, self.type, self.kind, self.ignored, self.release) = (count, size, type, kind, ignored, release)
        if release == nil {
            let memory = try Memory(bytes: total, for: "\(count) masks of \(size)")
            memory.base.copyMemory(from: ids, byteCount: total)
            (owned, self.ids) = (memory, UnsafeRawPointer(memory.base))
        } else {
            (owned, self.ids) = (nil, ids)
        }
    }

    deinit { release?() }

    /// One more than the largest id. Errors: `.argument` for an id outside 0 ..< `limit`.
    private static func classes(
        _ ids: UnsafeRawPointer, _ type: TargetType, _ count: Int, _ size: ImageSize, _ bytes: Int, ignored: Int32, limit: Int
    ) throws -> Int {
        var largest: Int32 = -1
        for index in 0..<count {
            try Interruption.check()
            let view = PixelView(ids: UnsafeMutableRawPointer(mutating: ids + index * bytes), size, type: type)
            var (low, high) = (Int32(0), Int32(0))
            mi_id_range([view], ignored, &low, &high)
            guard low <= high else { continue }
            guard low >= 0, Int(high) < limit else {
                throw MRPError(
                    .argument,
                    "the mask of image \(index) holds the id \(low < 0 ? low : high), outside \(PixelClasses.range(limit)) and not the ignored \(ignored)"
                )
            }
            largest = max(largest, high)
        }
        return Int(largest) + 1
    }

    public func load(_ index: Int, name: String, into workspace: ImageWorkspace) throws {
        let mask = UnsafeMutableRawPointer(mutating: ids + index * bytesPerMask)
        workspace.showTarget(PixelView(ids: mask, size, type: type), fill: ignored)
    }
}
