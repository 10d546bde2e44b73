import CMRPImage
import MRPEngine

extension Normalization {
    /// Mean and std of at most `maximumImages` images, evenly spaced over the dataset: the same images at every call. Values are
    /// rounded to float; a channel that is constant gets std 1. With `skipsUnreadable`, images that cannot be read are left out.
    /// `poll` is called and `cancel` polled between images; nil is returned when it becomes nonzero. Errors: those of loading an image.
    public static func measured(
        on dataset: ImageDataset, maximumImages: Int = 10_000, skipsUnreadable: Bool = false, cancel: UnsafePointer<Int32>? = nil,
        poll: (() -> Void)? = nil
    ) throws -> Normalization? {
        var sums = ChannelSums(channels: dataset.channels)
        let used = min(dataset.count, max(1, maximumImages))
        let workspace = ImageWorkspace()
        for i in 0..<used {
            poll?()
            if let cancel, mi_flag_load(cancel) != 0 { return nil }
            try Interruption.check()
            let index = Int(Int64(i).multipliedFullWidth(by: Int64(dataset.count)).low / UInt64(used))
            do {
                try dataset.load(index, into: workspace)
            } catch let error as MRPError where skipsUnreadable && error.isUnreadableImage {
                if i == used - 1, sums.pixels == 0 { throw error }
                continue
            }
            sums.add(workspace.image)
        }
        let result = sums.normalization
        try result.check(channels: dataset.channels)
        return result
    }
}

/// Sums over the pixels of several images.
private struct ChannelSums {
    private(set) var pixels = 0.0
    private var totals: [Double]
    private var totalSquares: [Double]

    init(channels: Int) {
        totals = [Double](repeating: 0, count: channels)
        totalSquares = totals
    }

    mutating func add(_ image: PixelView) {
        var image = image
        var sums = [Double](repeating: 0, count: totals.count)
        var squares = sums
        mi_channel_sums(&image, &sums, &squares)
        let range = image.pixelType.range
        for c in totals.indices {
            totals[c] += sums[c] / range
            totalSquares[c] += squares[c] / (range * range)
        }
        pixels += Double(image.height * image.width)
    }

    var normalization: Normalization {
        let mean = totals.map { $0 / pixels }
        let std = zip(totalSquares, mean).map { total, mean -> Float in
            let variance = total / pixels - mean * mean
            return variance > 1e-12 * max(1, mean * mean) ? Float(variance.squareRoot()) : 1
        }
        return Normalization(mean: mean.map { Double(Float($0)) }, std: std.map(Double.init))
    }
}
