import CMRPImage
import CMRPKernels
import MRPEngine

/// Decoded images by number, up to a limit of bytes; what is in stays in, so that views need no lock. Used by all loader threads.
final class ImageCache {
    private static let headerBytes = 64
    private let places: UnsafeMutableBufferPointer<UnsafeMutableRawPointer?>
    private let memory: Memory
    private let counter = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
    private let limit: Int

    init(count: Int, limit: Int) throws {
        memory = try Memory(bytes: count * MemoryLayout<UnsafeMutableRawPointer?>.stride, for: "an index of \(count) images")
        places = memory.typed(UnsafeMutableRawPointer?.self)
        places.initialize(repeating: nil)
        counter.initialize(to: 0)
        self.limit = limit
    }

    deinit {
        for place in places { mk_release(place) }
        counter.deallocate()
    }

    var used: Int { Int(mi_counter_add(counter, 0)) }

    subscript(index: Int) -> PixelView? {
        guard let place = places.baseAddress, let entry = mi_pointer_load(place + index) else { return nil }
        return entry.load(as: PixelView.self)
    }

    /// Copies the image when there is room; without, nothing happens.
    func keep(_ image: PixelView, at index: Int) {
        let row = Int(image.width * image.channels) * image.pixelType.bytes
        let bytes = Self.headerBytes + row * Int(image.height)
        guard let place = places.baseAddress, bytes <= limit else { return }
        guard mi_counter_add(counter, Int64(bytes)) <= Int64(limit), let entry = mk_allocate(Int64(bytes)) else {
            _ = mi_counter_add(counter, Int64(-bytes))
            return
        }
        let pixels = entry + Self.headerBytes
        for y in 0..<Int(image.height) { (pixels + y * row).copyMemory(from: image.pixels + y * Int(image.row_bytes), byteCount: row) }
        entry.storeBytes(
            of: PixelView(pixels, image.size, channels: Int(image.channels), type: image.pixelType), as: PixelView.self)
        if mi_pointer_claim(place + index, entry) == 0 {  // another thread was first, with the same pixels
            mk_release(entry)
            _ = mi_counter_add(counter, Int64(-bytes))
        }
    }
}
