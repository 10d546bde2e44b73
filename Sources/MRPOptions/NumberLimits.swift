/// Finite numbers between two limits, each of which may be excluded itself.
public struct NumberLimits: Sendable, Equatable {
    public let minimum: Double
    public let maximum: Double
    public let excludesMinimum: Bool
    public let excludesMaximum: Bool

    public init(_ minimum: Double, _ maximum: Double, excludesMinimum: Bool = false, excludesMaximum: Bool = false) {
        self.minimum = minimum
        self.maximum = maximum
        self.excludesMinimum = excludesMinimum
        self.excludesMaximum = excludesMaximum
    }

    func contains(_ value: Double) -> Bool {
        value.isFinite && (excludesMinimum ? value > minimum : value >= minimum) && (excludesMaximum ? value < maximum : value <= maximum)
    }

    /// ">= 0.0", "[0.0, 1.0)" or "(0.0, 1.0]".
    var text: String {
        if maximum == .infinity { return "\(excludesMinimum ? ">" : ">=") \(minimum)" }
        return "\(excludesMinimum ? "(" : "[")\(minimum), \(maximum)\(excludesMaximum ? ")" : "]")"
    }
}

/// Limits of a number in a declaration: a range of Swift, such as `0..<1` or `0...`, or `.above(0, upTo: 1)`.
public protocol NumberRange {
    var limits: NumberLimits { get }
}

extension NumberLimits: NumberRange {
    public var limits: NumberLimits { self }
}

extension ClosedRange: NumberRange where Bound == Double {
    public var limits: NumberLimits { NumberLimits(lowerBound, upperBound) }
}

extension Range: NumberRange where Bound == Double {
    public var limits: NumberLimits { NumberLimits(lowerBound, upperBound, excludesMaximum: true) }
}

extension PartialRangeFrom: NumberRange where Bound == Double {
    public var limits: NumberLimits { NumberLimits(lowerBound, .infinity) }
}

extension NumberRange where Self == NumberLimits {
    /// Numbers above `minimum`, up to `maximum`.
    public static func above(_ minimum: Double, upTo maximum: Double) -> NumberLimits {
        NumberLimits(minimum, maximum, excludesMinimum: true)
    }
}
