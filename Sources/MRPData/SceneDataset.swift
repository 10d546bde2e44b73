import CMRPImage
import MRPEngine

/// Generated scenes of shapes with pixel masks, so that dense prediction can be tried without data: 3 to 6 discs, squares, triangles, bars,
/// crosses and ellipses on textured ground (class 0), later ones in front of earlier ones. Masks of objects number them from the back to the front.
///
/// The images are the numbers `firstImage ..< firstImage + count` of one endless sequence that the seed fixes: sets with the same seed that
/// do not overlap are a training and a test set.
public final class SceneDataset: ImageDataset {
    public let count: Int
    public let channels: Int
    public let size: ImageSize
    public var imageSize: ImageSize? { size }
    public var pixelType: PixelType? { .uint8 }
    public let kind: MaskKind
    public let classNames: [String]
    public var hasClassNames: Bool { true }
    public var labels: UnsafeBufferPointer<Int32>? { nil }
    public var maskKind: MaskKind? { kind }
    public var ignoredId: Int32 { 255 }

    private let pixels: Memory
    private let classes: Memory
    private let objects: Memory
    private var area: Int { size.height * size.width }

    /// Draws all images now, as uint8. Errors: `.argument` when a number is out of range, `.memory`.
    public init(
        count: Int, channels: Int = 3, size: ImageSize = ImageSize(height: 32, width: 32), kind: MaskKind = .classes, seed: UInt64 = 0,
        firstImage: Int = 0
    ) throws {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
            guard range.contains(value) else {
                throw MRPError(.argument, "\(name) \(value) is outside \(range.lowerBound) ... \(range.upperBound)")
            }
        }
        try check("count", count, 1...Int(Int32.max))
        try check("channels", channels, 1...Int(MI_SCENE_MAX_CHANNELS))
        try check("height", size.height, 16...4_096)
        try check("width", size.width, 16...4_096)
        try check("first_image", firstImage, 0...(1 << 40))
        (self.count, self.channels, self.size, self.kind) = (count, channels, size, kind)
        classNames = kind == .objects ? PixelClasses.ofObjects : (0..<Int32(MI_SCENE_CLASSES)).map { String(cString: mi_scene_class($0)) }
        func memory(_ channels: Int) throws -> Memory {
            let bytes = try checkedProduct(
                [count, size.height, size.width, channels], "\(count) scenes of \(channels) x \(size)", code: .argument)
            return try Memory(bytes: bytes, for: "\(count) scenes of \(channels) x \(size)")
        }
        (pixels, classes, objects) = (try memory(channels), try memory(1), try memory(1))
        let area = size.height * size.width
        for index in 0..<count {
            try Interruption.check()
            func place(_ memory: Memory, _ channels: Int) -> UnsafeMutablePointer<UInt8> {
                (memory.base + index * area * channels).assumingMemoryBound(to: UInt8.self)
            }
            mi_scene_draw(
                seed, Int64(firstImage + index), Int64(size.height), Int64(size.width), Int32(channels), place(pixels, channels),
                place(classes, 1), place(objects, 1))
        }
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        workspace.show(PixelView(pixels.base + index * area * channels, size, channels: channels, type: .uint8))
    }

    public func loadTarget(_ index: Int, into workspace: ImageWorkspace) throws {
        let ids = kind == .objects ? objects : classes
        workspace.showTarget(PixelView(ids: ids.base + index * area, size, type: .uint8), fill: ignoredId)
    }
}
