/// Mean and standard deviation of each channel, by which pixels become network inputs: (x / range - mean) / std, where `range` is 255 for
/// uint8, 65535 for uint16 and 1 for float images.
public struct Normalization: Equatable, Sendable {
    public var mean: [Double]
    public var std: [Double]

    public init(mean: [Double], std: [Double]) {
        self.mean = mean
        self.std = std
    }

    /// Mean 0 and std 1: images keep their values, integers as fractions of their range.
    public static func identity(channels: Int) -> Normalization {
        Normalization(mean: Array(repeating: 0, count: channels), std: Array(repeating: 1, count: channels))
    }

    /// Errors: `.argument` when the counts are not `channels`, or a value that is rounded to float is not finite or a std not above 0.
    public func check(channels: Int) throws {
        guard mean.count == std.count else {
            throw MRPError(
                .argument, "\(mean.count) means and \(std.count) deviations were given: one of each per channel is needed")
        }
        guard mean.count == channels else {
            throw MRPError(.argument, "the normalization has \(mean.count) channels, the images \(channels)")
        }
        for (c, value) in mean.enumerated() where !Float(value).isFinite {
            throw MRPError(.argument, "mean \(value) of channel \(c) is not finite")
        }
        for (c, value) in std.enumerated() where !(Float(value) > 0 && Float(value).isFinite) {
            throw MRPError(.argument, "std \(value) of channel \(c) is not above 0")
        }
    }
}
