import CMRPImage
import MRPEngine

/// Generated images in which each class has two independent discriminative parts: the image form of multi-view data (Allen-Zhu & Li 2020,
/// "Towards Understanding Ensemble, Knowledge Distillation and Self-Distillation in Deep Learning"; Pan, Zhou & Yan 2022). Multi-view
/// images show both parts, single-view images one; every image also shows weak fragments of other classes' parts on a busy background.
///
/// The images are the numbers `firstImage ..< firstImage + count` of one endless sequence that the seed fixes, so that training and test
/// sets with the same seed and apart in `firstImage` share their classes and no image. Image i has label i % classes.
public final class SyntheticDataset: ImageDataset {
    /// The parts that an image shows, with their places in pixels (row and column of the centre).
    public struct Scene: Sendable {
        public struct Part: Sendable {
            public let row: Float
            public let column: Float
            public let radius: Float
        }
        public let label: Int
        /// Part 0 and part 1 of the class; nil when the image does not show it.
        public let parts: [Part?]
        public var isMultiView: Bool { parts.allSatisfy { $0 != nil } }
    }

    public let count: Int
    public let channels: Int
    public let size: ImageSize
    public let firstImage: Int
    public var imageSize: ImageSize? { size }
    public var pixelType: PixelType? { .uint8 }
    public var classNames: [String] { store.classNames }
    public var labels: UnsafeBufferPointer<Int32>? { store.buffer }

    private let store: LabelStore
    private let pixels: Memory
    private let records: Memory
    private let bytesPerImage: Int

    /// Draws all images now, as uint8. Errors: `.argument` when a number is out of range, `.memory`.
    public init(
        count: Int, classes: Int = 10, channels: Int = 3, size: ImageSize = ImageSize(height: 32, width: 32),
        singleViewFraction: Double = 0.3, seed: UInt64 = 0, firstImage: Int = 0
    ) throws {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
            guard range.contains(value) else {
                throw MRPError(.argument, "\(name) \(value) is outside \(range.lowerBound) ... \(range.upperBound)")
            }
        }
        try check("count", count, 1...Int(Int32.max))
        try check("classes", classes, 2...Int(MI_SYNTHETIC_MAX_CLASSES))
        try check("channels", channels, 1...Int(MI_SYNTHETIC_MAX_CHANNELS))
        try check("height", size.height, Int(MI_SYNTHETIC_MIN_SIDE)...Int(MI_SYNTHETIC_MAX_SIDE))
        try check("width", size.width, Int(MI_SYNTHETIC_MIN_SIDE)...Int(MI_SYNTHETIC_MAX_SIDE))
        try check("first_image", firstImage, 0...Int(Int32.max))
        guard singleViewFraction >= 0, singleViewFraction <= 1 else {
            throw MRPError(.argument, "single_view_fraction \(singleViewFraction) is outside [0, 1]")
        }
        self.count = count
        self.channels = channels
        self.size = size
        self.firstImage = firstImage
        bytesPerImage = size.height * size.width * channels
        let total = try checkedProduct([count, bytesPerImage], "\(count) images of \(channels) x \(size)", code: .argument)
        pixels = try Memory(bytes: total, for: "\(count) images of \(channels) x \(size)")
        let recordBytes = MemoryLayout<mi_synthetic_record>.stride
        records = try Memory(bytes: count * recordBytes, for: "\(count) records")
        let definition = try Memory(bytes: MemoryLayout<mi_synthetic>.stride, for: "the classes")
        let set = definition.base.bindMemory(to: mi_synthetic.self, capacity: 1)
        definition.base.initializeMemory(as: UInt8.self, repeating: 0, count: definition.bytes)
        set.pointee.seed = seed
        set.pointee.classes = Int32(classes)
        set.pointee.channels = Int32(channels)
        set.pointee.height = Int32(size.height)
        set.pointee.width = Int32(size.width)
        set.pointee.single_view_fraction = singleViewFraction
        mi_synthetic_define(set)
        let scratch = try Memory(bytes: Int(mi_synthetic_scratch(set)), for: "drawing an image")
        let labels = try Memory(bytes: count * 4, for: "\(count) labels")
        let record = records.typed(mi_synthetic_record.self)
        for i in 0..<count {
            try Interruption.check()
            let target = (pixels.base + i * bytesPerImage).assumingMemoryBound(to: UInt8.self)
            mi_synthetic_draw(set, Int64(firstImage + i), scratch.base, target, record.baseAddress.map { $0 + i })
            labels.typed(Int32.self)[i] = record[i].label
        }
        store = try LabelStore(
            copying: UnsafeBufferPointer(labels.typed(Int32.self)), classCount: classes,
            classNames: (0..<classes).map { "class\($0)" })
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        workspace.show(PixelView(pixels.base + index * bytesPerImage, size, channels: channels, type: .uint8))
    }

    /// The images themselves: count x height x width x channels.
    public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: pixels.base, count: pixels.bytes) }

    /// The parts of image `index`; nil without such an image.
    public func scene(of index: Int) -> Scene? {
        guard index >= 0, index < count else { return nil }
        let r = records.typed(mi_synthetic_record.self)[index]
        func part(_ bit: Int32, _ row: Float, _ column: Float, _ radius: Float) -> Scene.Part? {
            r.parts & bit != 0 ? Scene.Part(row: row, column: column, radius: radius) : nil
        }
        return Scene(
            label: Int(r.label),
            parts: [part(1, r.row.0, r.column.0, r.radius.0), part(2, r.row.1, r.column.1, r.radius.1)])
    }
}
