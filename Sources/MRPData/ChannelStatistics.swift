import CMRPImage
import MRPEngine

/// Mean and standard deviation of each channel, by which images are normalised: (x - mean) / std, where integers count as fractions of
/// their range (uint8: x / 255) and floats as they are.
public struct ChannelStatistics: Equatable, Sendable {
    public let mean: [Float]
    public let std: [Float]

    /// Errors: `.argument` when the counts differ, a value is not finite or a deviation is not positive.
    public init(mean: [Float], std: [Float]) throws {
        guard mean.count == std.count, !mean.isEmpty, mean.count <= Int(MI_MAX_CHANNELS) else {
            throw MRPError(.argument, "\(mean.count) means and \(std.count) deviations were given: one of each per channel is needed")
        }
        for (c, value) in mean.enumerated() where !value.isFinite {
            throw MRPError(.argument, "mean \(value) of channel \(c) is not finite")
        }
        for (c, value) in std.enumerated() where !(value > 0 && value.isFinite) {
            throw MRPError(.argument, "std \(value) of channel \(c) is not above 0")
        }
        self.mean = mean
        self.std = std
    }

    /// Mean 0, deviation 1: images keep their values (integers as fractions).
    public static func identity(channels: Int) throws -> ChannelStatistics {
        guard (1...Int(MI_MAX_CHANNELS)).contains(channels) else {
            throw MRPError(.argument, "channels \(channels) is outside 1 ... \(MI_MAX_CHANNELS)")
        }
        return try ChannelStatistics(
            mean: [Float](repeating: 0, count: channels), std: [Float](repeating: 1, count: channels))
    }

    /// ImageNet's, in the order red, green, blue.
    public static let imageNet = try? ChannelStatistics(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225])

    /// Measures at most `maximumImages` images, evenly spaced over the dataset: the same images at every call. A channel that is constant
    /// gets deviation 1. With `skipsUnreadable`, images that cannot be read are left out. `poll` is called and `cancel` polled between images; nil is returned when it becomes nonzero. Errors: those of loading an image.
    public static func measured(
        on dataset: ImageDataset, maximumImages: Int = 10_000, skipsUnreadable: Bool = false, cancel: UnsafePointer<Int32>? = nil,
        poll: (() -> Void)? = nil
    ) throws -> ChannelStatistics? {
        let channels = dataset.channels
        let used = min(dataset.count, max(1, maximumImages))
        let workspace = ImageWorkspace()
        var sums = [Double](repeating: 0, count: channels)
        var squares = sums
        var totals = sums, totalSquares = sums
        var pixels = 0.0
        for i in 0..<used {
            poll?()
            if let cancel, mi_flag_load(cancel) != 0 { return nil }
            let index = Int(Int64(i).multipliedFullWidth(by: Int64(dataset.count)).low / UInt64(used))
            do {
                try dataset.load(index, into: workspace)
            } catch let error as MRPError where skipsUnreadable && LoaderQueue.isUnreadable(error) {
                if i == used - 1, pixels == 0 { throw error }
                continue
            }
            var image = workspace.image
            for c in 0..<channels { sums[c] = 0 }
            for c in 0..<channels { squares[c] = 0 }
            mi_channel_sums(&image, &sums, &squares)
            let range = image.pixelType.range
            for c in 0..<channels {
                totals[c] += sums[c] / range
                totalSquares[c] += squares[c] / (range * range)
            }
            pixels += Double(image.height * image.width)
        }
        let mean = totals.map { $0 / pixels }
        let std = zip(totalSquares, mean).map { total, mean -> Float in
            let variance = total / pixels - mean * mean
            return variance > 1e-12 * max(1, mean * mean) ? Float(variance.squareRoot()) : 1
        }
        return try ChannelStatistics(mean: mean.map { Float($0) }, std: std)
    }
}
