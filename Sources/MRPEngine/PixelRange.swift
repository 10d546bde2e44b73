import Glibc

/// The units of images: how their values are stored, and from where to where they go.
///
/// Integers are fractions of their type's range when a network sees them, floats are as they are; so uint8 0 ... 255 and floats 0 ... 1 are the
/// same, floats 0 ... 255 are not.
public struct PixelRange: Equatable, Sendable {
    /// "uint8", "uint16", "float32"; "mixed" where images of a folder differ, "" where only a mean and a deviation are known.
    public let type: String
    /// The stored value that the network sees as 1.
    public let unit: Double
    /// The smallest and the largest value, as the network sees them.
    public let low: Double
    public let high: Double

    public init(type: String, unit: Double, low: Double, high: Double) {
        (self.type, self.unit, self.low, self.high) = (type, unit, low, high)
    }

    /// What most images of this mean and deviation lie in.
    public init(_ normalization: Normalization) {
        let ends = zip(normalization.mean, normalization.std).map { (low: $0 - 3 * $1, high: $0 + 3 * $1) }
        self.init(type: "", unit: 1, low: ends.map(\.low).min() ?? 0, high: ends.map(\.high).max() ?? 0)
    }

    private var largest: Double { max(abs(low), abs(high)) }

    /// How images of another range fit a model of this one.
    public enum Verdict: Equatable, Sendable {
        case fits
        /// One line for a warning.
        case doubtful(String)
        /// One line for an error: no image has such values in the model's units.
        case wrong(String)
    }

    /// - Parameter images: how many images `other` was found on: a few may all be dark.
    public func verdict(on other: PixelRange, images: Int) -> Verdict {
        let ranges = "the images are \(other), the model was trained on \(self)"
        guard largest > 0, other.largest > 0 else { return .fits }
        let ratio = other.largest / largest
        if ratio > 8 { return .wrong("\(ranges): their values are \(Self.short(ratio)) times as large") }
        if ratio < 1.0 / 8 {
            let text = "\(ranges): their values are \(Self.short(1 / ratio)) times as small"
            return ratio < 1.0 / 64 && images >= 8 ? .wrong(text) : .doubtful(text)
        }
        guard !type.isEmpty else { return .fits }
        if low < -0.1 * largest, other.low >= 0, images >= 8 { return .doubtful("\(ranges): none of their values is negative") }
        if low >= 0, other.low < -0.1 * other.largest { return .doubtful("\(ranges): some of their values are negative") }
        return .fits
    }

    // MARK: In a model's file

    public var json: JSON {
        .object([("type", .string(type)), ("unit", .number(unit)), ("low", .number(low)), ("high", .number(high))])
    }

    /// nil for anything else than `json` writes.
    public init?(_ json: JSON?) {
        guard let type = json?["type"]?.string, let unit = json?["unit"]?.number, let low = json?["low"]?.number,
            let high = json?["high"]?.number, unit > 0, low <= high, low.isFinite, high.isFinite
        else { return nil }
        self.init(type: type, unit: unit, low: low, high: high)
    }

    /// At most four digits.
    private static func short(_ value: Double) -> String {
        guard value != 0, value.isFinite else { return "0" }
        let step = pow(10, 3 - floor(log10(abs(value))))
        let text = "\((value * step).rounded() / step)"
        return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
    }
}

extension PixelRange: CustomStringConvertible {
    /// "uint8 0 ... 255"
    public var description: String {
        let ends = "\(Self.short(low * unit)) ... \(Self.short(high * unit))"
        return type.isEmpty ? "values of about \(ends) (by its mean and deviation)" : "\(type) \(ends)"
    }
}
