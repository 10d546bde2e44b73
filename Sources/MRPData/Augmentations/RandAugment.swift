import MRPEngine

/// RandAugment (Cubuk et al. 2020) as timm has it: `layers` operations are drawn with replacement, each is applied with `probability`, at a
/// magnitude of 0 ... 10 that is normal around `magnitude`. The text `rand-m9-mstd0.5-inc1` is timm's.
public struct RandAugment: AugmentationStep {
    public let name = "rand_augment"
    public var magnitude = 10.0
    public var deviation = 0.0
    public var layers = 2
    public var probability = 0.5
    public var maximum = 10.0
    /// All operations become stronger with the magnitude.
    public var isIncreasing = false
    /// The colour of what comes from outside of the image, one value per channel.
    public var fill: [UInt8] = [128, 128, 128]

    public static let operationCount = 15

    /// Reads sections separated by dashes: m magnitude, n layers, p probability, mstd deviation (above 100: uniform from 0 to m), mmax the
    /// magnitude's limit, inc 0 or 1; `rand` in front may be left out. A number alone is the magnitude, with mstd0.5 and inc1. Errors: `.argument`.
    public init(_ text: String) throws {
        func refuse() -> MRPError {
            MRPError(.argument, "rand_augment '\(text)' is not like m9-mstd0.5-inc1: sections m, n, p, mstd, mmax and inc with numbers")
        }
        if let number = Double(text) {
            (magnitude, deviation, isIncreasing) = (number, 0.5, true)
        } else {
            for section in text.split(separator: "-", omittingEmptySubsequences: false) where section != "rand" {
                let key = section.prefix { $0.isLetter }
                guard let value = Double(section.dropFirst(key.count)), value >= 0, value.isFinite || key == "mstd" else { throw refuse() }
                switch key {
                case "m": magnitude = value
                case "n": layers = Int(min(value, 100))
                case "p": probability = value
                case "mstd": deviation = value > 100 ? .infinity : value
                case "mmax": maximum = value
                case "inc": isIncreasing = value != 0
                default: throw refuse()
                }
            }
        }
        guard (0...100).contains(magnitude), (0...1).contains(probability), maximum > 0, layers >= 1 else { throw refuse() }
    }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        try PixelOperation.check(channels: channels, name)
        return input
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        for _ in 0..<layers {
            let operation = random.below(Self.operationCount)
            guard Double(random.uniform()) < probability else { continue }
            var level = magnitude
            if deviation == .infinity {
                level = random.uniform(0, magnitude)
            } else if deviation > 0 {
                level += deviation * random.normal()
            }
            level = max(0, min(level, maximum))
            try self.operation(operation, level: level, negative: random.uniform() > 0.5).apply(workspace, fill: fill, name)
        }
    }

    /// Operation `index` of timm's list at a level; `negative` turns those that have two directions.
    public func operation(_ index: Int, level: Double, negative: Bool) -> PixelOperation {
        let share = level / 10, signed = negative ? -share : share
        let enhancement = isIncreasing ? max(0.1, 1 + 0.9 * signed) : 1.8 * share + 0.1
        switch index {
        case 0: return .autoContrast
        case 1: return .equalize
        case 2: return .invert
        case 3: return .rotate(degrees: 30 * signed)
        case 4: return .posterize(bits: isIncreasing ? 4 - Int(share * 4) : Int(share * 4))
        case 5:
            let threshold = min(256, Int(share * 256))
            return .solarize(threshold: isIncreasing ? 256 - threshold : threshold)
        case 6: return .solarizeAdd(min(128, Int(share * 110)))
        case 7: return .color(enhancement)
        case 8: return .contrast(enhancement)
        case 9: return .brightness(enhancement)
        case 10: return .sharpness(enhancement)
        case 11: return .shearX(0.3 * signed)
        case 12: return .shearY(0.3 * signed)
        case 13: return .translateX(0.45 * signed)
        default: return .translateY(0.45 * signed)
        }
    }
}
