import MRPEngine

/// The values that an option takes: their limits, and their text forms.
public struct OptionType<Value: Sendable>: Sendable {
    /// "integer", "number", "flag", "choice", "numbers" or "text".
    public let name: String
    /// The limits in words, for errors and manuals.
    public let limits: String
    /// The value of a text. The error names the option, the text and the limits.
    let parse: @Sendable (_ text: String, _ option: String) throws -> Value
    /// The text of a value, which `parse` reads.
    let text: @Sendable (Value) -> String

    /// `parse` answers nil for a text that is no value; `problem` says what is wrong with it, after the option's name.
    private init(
        _ name: String, limits: String, problem: @escaping @Sendable (String) -> String, parse: @escaping @Sendable (String) -> Value?,
        text: @escaping @Sendable (Value) -> String
    ) {
        self.name = name
        self.limits = limits
        self.text = text
        self.parse = { given, option in
            guard let value = parse(given) else { throw MRPError(.argument, "\(option) \(problem(given))") }
            return value
        }
    }

    private init(
        name: String, limits: String, parse: @escaping @Sendable (String, String) throws -> Value,
        text: @escaping @Sendable (Value) -> String
    ) {
        self.name = name
        self.limits = limits
        self.parse = parse
        self.text = text
    }

    /// The same values and `auto`, which is nil.
    var orAuto: OptionType<Value?> {
        OptionType<Value?>(
            name: name, limits: limits, parse: { [parse] in $0 == "auto" ? nil : try parse($0, $1) },
            text: { [text] in $0.map(text) ?? "auto" })
    }

    /// The same values with other texts.
    public func written(_ text: @escaping @Sendable (Value) -> String) -> OptionType {
        OptionType(name: name, limits: limits, parse: parse, text: text)
    }
}

extension OptionType where Value == Int {
    public static func integer(_ range: ClosedRange<Int>) -> OptionType {
        let limits = "\(range.lowerBound) ... \(range.upperBound)"
        return OptionType(
            "integer", limits: limits, problem: { Int($0) == nil ? "'\($0)' is not an integer" : "\($0) is outside \(limits)" },
            parse: { Int($0).flatMap { range.contains($0) ? $0 : nil } }, text: { String($0) })
    }
}

extension OptionType where Value == Double {
    public static func number(_ range: some NumberRange) -> OptionType {
        let limits = range.limits
        return OptionType(
            "number", limits: limits.text,
            problem: { Double($0)?.isFinite == true ? "\($0) is outside \(limits.text)" : "'\($0)' is not a number" },
            parse: { Double($0).flatMap { limits.contains($0) ? $0 : nil } }, text: NumberText.short)
    }
}

extension OptionType where Value == Bool {
    public static var flag: OptionType {
        let values = ["true": true, "false": false, "1": true, "0": false, "yes": true, "no": false]
        return OptionType(
            "flag", limits: "true or false", problem: { "'\($0)' is not one of: true or false" }, parse: { values[$0] }, text: { "\($0)" })
    }
}

extension OptionType {
    private static func choice(
        _ names: [String], parse: @escaping @Sendable (String) -> Value?, text: @escaping @Sendable (Value) -> String
    )
        -> OptionType
    {
        let limits = names.joined(separator: ", ")
        return OptionType("choice", limits: limits, problem: { "'\($0)' is not one of: \(limits)" }, parse: parse, text: text)
    }
}

extension OptionType where Value: RawRepresentable, Value.RawValue == String {
    /// One of some values of an enum, by their raw values.
    public static func choice(among values: [Value]) -> OptionType {
        choice(values.map(\.rawValue), parse: { text in values.first { $0.rawValue == text } }, text: { $0.rawValue })
    }
}

extension OptionType where Value: RawRepresentable & CaseIterable, Value.RawValue == String {
    /// One of the values of an enum.
    public static func choice(_: Value.Type) -> OptionType { choice(among: Array(Value.allCases)) }
}

extension OptionType where Value == String {
    /// One of a list of names, such as those of a registry.
    public static func name(among names: [String]) -> OptionType {
        choice(names, parse: { names.contains($0) ? $0 : nil }, text: { $0 })
    }

    /// Any text, such as a path; the summary says which.
    public static var text: OptionType {
        OptionType("text", limits: "any text", problem: { "'\($0)' is no text" }, parse: { $0 }, text: { $0 })
    }
}

extension OptionType where Value == [Double] {
    /// Numbers separated by commas, or none.
    public static var numbers: OptionType {
        OptionType(
            "numbers", limits: "numbers separated by commas", problem: { "'\($0)' is not a list of numbers" },
            parse: {
                let parts = $0.split(separator: ",").map { Double($0.trimmed) }
                return parts.allSatisfy { $0?.isFinite == true } ? parts.compactMap { $0 } : nil
            }, text: { $0.map(NumberText.short).joined(separator: ",") })
    }
}

extension OptionType where Value == [String] {
    /// Names separated by commas, or none.
    public static var names: OptionType {
        OptionType(
            "text", limits: "names separated by commas", problem: { "'\($0)' is not a list of names" },
            parse: { $0.split(separator: ",").map(\.trimmed).filter { !$0.isEmpty } }, text: { $0.joined(separator: ",") })
    }
}

extension Substring {
    fileprivate var trimmed: String {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}

public enum NumberText {
    /// As people write it: "4" and "1e-6", where Swift has "4.0" and "1e-06".
    @Sendable public static func short(_ value: Double) -> String {
        var text = "\(value)"
        if text.hasSuffix(".0") { text.removeLast(2) }
        for sign in ["e-0", "e+0"] {
            if let place = text.firstIndex(of: "e"), text[place...].hasPrefix(sign) {
                text.replaceSubrange(place..., with: sign.dropLast() + text[place...].dropFirst(sign.count))
            }
        }
        return text
    }
}
