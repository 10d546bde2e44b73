import MRPEngine

/// Values of the options of a table, checked when they are set. Other languages set them by key and text; the library reads them by their
/// declarations.
public struct Options: Sendable {
    public let table: OptionTable
    private var values: [String: String] = [:]

    public init(_ table: OptionTable) { self.table = table }

    /// The values of a preset. An unknown name is an error that lists all.
    public init(_ table: OptionTable, preset name: String) throws {
        self.init(table)
        for (key, value) in try table.preset(name).values { try set(key, value) }
    }

    // MARK: By key and text

    /// Sets one option. A plain key also replaces what was set for single phases before; an unknown key is an error that names the
    /// nearest one.
    public mutating func set(_ key: String, _ text: String) throws {
        let (phase, option) = try table.find(key)
        guard phase == nil || option.isPerPhase else { throw MRPError(.argument, "option '\(option.key)' cannot be set for one phase") }
        try option.validate(text)
        if let phase {
            values[phase.key(option.key)] = text
        } else {
            for phase in Phase.allCases { values[phase.key(option.key)] = nil }
            for key in option.sides + [option.key] { values[key] = text }
        }
    }

    /// The text of an option: what was set, or its default.
    public func text(_ key: String) throws -> String {
        let (phase, option) = try table.find(key)
        return phase.flatMap { values[$0.key(option.key)] } ?? values[option.key] ?? option.defaultValue
    }

    /// All options as a phase reads them, in the table's order; equal values have equal texts, however they were spelt.
    public func values(for phase: Phase) -> [(key: String, value: String)] {
        table.definitions.map { option in
            let text = values[phase.key(option.key)] ?? values[option.key] ?? option.defaultValue
            return (option.key, option.spelling(text))
        }
    }

    // MARK: By declaration

    public subscript<Value>(_ option: Option<Value>) -> Value { option.value(values[option.key]) }

    public subscript<Value>(_ option: PhaseOption<Value>, _ phase: Phase) -> Value {
        option.option.value(values[phase.key(option.key)] ?? values[option.key])
    }

    /// Sets an option for one phase.
    public mutating func set<Value>(_ option: PhaseOption<Value>, _ phase: Phase, _ value: Value) throws {
        try set(phase.key(option.key), option.option.text(value))
    }

    /// True when an option was set, for all phases.
    public func isSet(_ option: any OptionDeclaration) -> Bool { values[option.definition.key] != nil }

    /// The value of an option that was set; nil where it was not, or is `auto`.
    public func given<Value>(_ option: Option<Value>) -> Value? { isSet(option) ? self[option] : nil }
    public func given<Value>(_ option: Option<Value?>) -> Value? { isSet(option) ? self[option] : nil }
}
