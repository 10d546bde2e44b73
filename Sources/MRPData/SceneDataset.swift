import CMRPImage
import MRPEngine

/// Generated scenes of shapes with pixel masks, so that dense prediction can be tried without data: 3 to 6 discs, squares, triangles, bars,
/// crosses and ellipses on textured ground (class 0), later ones in front of earlier ones.
///
/// The images are the numbers `firstImage ..< firstImage + count` of one endless sequence that the seed fixes: sets with the same seed that
/// do not overlap are a training and a test set.
public final class SceneDataset: ImageDataset {
    public let count: Int
    public let channels: Int
    public let size: ImageSize
    public var imageSize: ImageSize? { size }
    public var pixelType: PixelType? { .uint8 }
    public let classNames = (0..<Int32(MI_SCENE_CLASSES)).map { String(cString: mi_scene_class($0)) }
    public var hasClassNames: Bool { true }
    public var labels: UnsafeBufferPointer<Int32>? { nil }
    public var hasTargets: Bool { true }
    public var ignoredId: Int32 { 255 }

    private let pixels: Memory
    private let classes: Memory
    private let objects: Memory
    private var area: Int { size.height * size.width }

    /// Draws all images now, as uint8. Errors: `.argument` when a number is out of range, `.memory`.
    public init(
        count: Int, channels: Int = 3, size: ImageSize = ImageSize(height: 32, width: 32), seed: UInt64 = 0, firstImage: Int = 0
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
        (self.count, self.channels, self.size) = (count, channels, size)
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
        workspace.showTarget(PixelView(ids: classes.base + index * area, size, type: .uint8), fill: ignoredId)
    }

    /// The object of each pixel of an image, 1, 2, ... from the back to the front, 0 where there is none; nil without such an image.
    public func objects(of index: Int) -> UnsafeRawBufferPointer? {
        guard index >= 0, index < count else { return nil }
        return UnsafeRawBufferPointer(start: objects.base + index * area, count: area)
    }
}
