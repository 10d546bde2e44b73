import MRPData
import MRPEngine
import Testing

/// Runs `body`, which has to fail, and checks the code and a part of the text.
func expectError(
    _ code: MRPError.Code, _ part: String, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
    do {
        try body()
        Issue.record("no error was thrown; expected \(part)", sourceLocation: sourceLocation)
    } catch let error as MRPError {
        #expect(error.code == code, sourceLocation: sourceLocation)
        #expect(error.message.contains(part), "\(error.message)", sourceLocation: sourceLocation)
        #expect(!error.message.contains("\n"), sourceLocation: sourceLocation)
    } catch {
        Issue.record("unexpected error \(error)", sourceLocation: sourceLocation)
    }
}

/// A dataset of `count` uint8 images whose pixel (c, y, x) of image i is a hash of all four.
func patterned(
    _ count: Int, channels: Int = 3, height: Int = 8, width: Int = 8, classes: Int = 4, layout: PixelLayout = .channelsFirst
) throws -> ArrayDataset {
    var pixels: [UInt8] = []
    for i in 0..<count {
        if layout == .channelsFirst {
            for c in 0..<channels { for y in 0..<height { for x in 0..<width { pixels.append(pattern(i, c, y, x)) } } }
        } else {
            for y in 0..<height { for x in 0..<width { for c in 0..<channels { pixels.append(pattern(i, c, y, x)) } } }
        }
    }
    let labels = (0..<count).map { Int32($0 * 7 % classes) }
    return try ArrayDataset(
        pixels: pixels, type: .uint8, layout: layout, count: count, channels: channels, size: ImageSize(height: height, width: width),
        labels: labels, classCount: classes)
}

func pattern(_ i: Int, _ c: Int, _ y: Int, _ x: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: (i * 7919 + c * 131 + y * 31 + x * 17) &* 2_654_435_761 >> 7)
}

/// The values of an image as the workspace shows it.
func values(_ view: PixelView) -> [Float] {
    var out: [Float] = []
    for y in 0..<Int(view.height) {
        for x in 0..<Int(view.width) * Int(view.channels) {
            let row = view.pixels + y * Int(view.row_bytes)
            switch view.pixelType {
            case .uint8: out.append(Float(row.load(fromByteOffset: x, as: UInt8.self)))
            case .uint16: out.append(Float(row.load(fromByteOffset: 2 * x, as: UInt16.self)))
            case .float32: out.append(row.load(fromByteOffset: 4 * x, as: Float.self))
            }
        }
    }
    return out
}

/// A batch copied out of the loader's memory.
struct BatchCopy: Equatable {
    var epoch: Int
    var step: Int
    var images: [Float]
    var labels: [Int32]
    var indices: [Int64]
    var targets: [Int32]

    init(_ batch: Batch, _ loader: BatchLoader) {
        epoch = batch.epoch
        step = batch.step
        let pixels = batch.count * batch.views * loader.imageSize.height * loader.imageSize.width
        images = Array(UnsafeBufferPointer(start: batch.images, count: pixels * loader.channels))
        targets = batch.targets.map { Array(UnsafeBufferPointer(start: $0, count: pixels)) } ?? []
        labels = Array(UnsafeBufferPointer(start: batch.labels, count: batch.count))
        indices = Array(UnsafeBufferPointer(start: batch.indices, count: batch.count))
    }
}

/// The next `count` batches, or fewer at the end.
func take(_ loader: BatchLoader, _ count: Int) throws -> [BatchCopy] {
    var batches: [BatchCopy] = []
    while batches.count < count {
        guard case .batch(let batch) = try loader.next() else { break }
        batches.append(BatchCopy(batch, loader))
    }
    return batches
}
