import CMRPImage
import MRPEngine

/// Images of one size in memory.
public final class ArrayDataset: ImageDataset {
    public let count: Int
    public let channels: Int
    public let size: ImageSize
    public let type: PixelType
    public var imageSize: ImageSize? { size }
    public var pixelType: PixelType? { type }
    public var classNames: [String] { store?.classNames ?? [] }
    public var labels: UnsafeBufferPointer<Int32>? { store?.buffer }

    private let store: LabelStore?
    private let owned: Memory?
    private let pixels: UnsafeRawPointer
    private let layout: PixelLayout
    private let release: (() -> Void)?
    private let bytesPerImage: Int

    /// Values or bytes that are looked at or copied between two checks whether the caller wants to stop.
    private static let piece = 8 << 20

    /// Images at `pixels`: count x channels x height x width values, or count x height x width x channels, packed.
    ///
    /// Without `release` the pixels are copied; with it they are borrowed until the dataset goes away, which then calls it (an error here
    /// leaves them with the caller). Labels are copied. Float images keep their own units; NaN and Inf are refused.
    /// Errors: `.argument` for sizes, labels or values out of range; `.memory`.
    public init(
        pixels: UnsafeRawPointer, type: PixelType, layout: PixelLayout, count: Int, channels: Int, size: ImageSize,
        labels: UnsafePointer<Int32>? = nil, classCount: Int? = nil, classNames: [String]? = nil, release: (() -> Void)? = nil
    ) throws {
        guard count >= 1 else { throw MRPError(.argument, "count \(count) is below 1: a dataset needs an image") }
        guard (1...Int(MI_MAX_CHANNELS)).contains(channels) else {
            throw MRPError(.argument, "channels \(channels) is outside 1 ... \(MI_MAX_CHANNELS)")
        }
        try size.check("image")
        bytesPerImage = try checkedProduct(
            [channels, size.height, size.width, type.bytes], "an image of \(channels) x \(size)", code: .argument)
        let total = try checkedProduct([count, bytesPerImage], "an array of \(count) x \(channels) x \(size)", code: .argument)
        guard Int(bitPattern: pixels) % type.bytes == 0 else {
            throw MRPError(.argument, "the array is not aligned to its \(type.bytes)-byte elements")
        }
        if type == .float32 {
            let values = pixels.assumingMemoryBound(to: Float.self)
            var bad = -1
            for first in stride(from: 0, to: total / 4, by: Self.piece) where bad < 0 {
                try Interruption.check()
                bad = Int(mi_first_nonfinite(values + first, Int64(min(Self.piece, total / 4 - first))))
                if bad >= 0 { bad += first }
            }
            if bad >= 0 {
                throw MRPError(.argument, "image \(bad / (bytesPerImage / 4)) holds \(values[bad]): images must be finite")
            }
        }
        store = try labels.map {
            try LabelStore(copying: UnsafeBufferPointer(start: $0, count: count), classCount: classCount, classNames: classNames)
        }
        self.count = count
        self.channels = channels
        self.size = size
        self.type = type
        if let release {
            owned = nil
            self.pixels = pixels
            self.layout = channels == 1 ? .channelsLast : layout
            self.release = release
            return
        }
        let memory = try Memory(bytes: total, for: "\(count) images of \(channels) x \(size)")
        if layout == .channelsLast || channels == 1 {
            for first in stride(from: 0, to: total, by: Self.piece) {
                try Interruption.check()
                (memory.base + first).copyMemory(from: pixels + first, byteCount: min(Self.piece, total - first))
            }
        } else {  // interleaved once, so that loading an image costs nothing
            for i in 0..<count {
                try Interruption.check()
                var image = PixelView(memory.base + i * bytesPerImage, size, channels: channels, type: type)
                mi_interleave(pixels + i * bytesPerImage, &image)
            }
        }
        owned = memory
        self.pixels = UnsafeRawPointer(memory.base)
        self.layout = .channelsLast
        self.release = nil
    }

    deinit { release?() }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        let source = pixels + index * bytesPerImage
        if layout == .channelsLast {
            workspace.show(PixelView(UnsafeMutableRawPointer(mutating: source), size, channels: channels, type: type))
        } else {
            var image = try workspace.makeImage(size, channels: channels, type: type)
            mi_interleave(source, &image)
            workspace.replace(image)
        }
    }
}
