import MRPEngine

/// The options of one purpose and their presets. The checks of values, the C interface's description, Python's keyword arguments, the
/// command line and the manual are all derived from it.
public struct OptionTable: Sendable {
    public let definitions: [OptionDefinition]
    public let presets: [Preset]
    /// An adjective and a space before "option" in errors, or "".
    private let adjective: String
    private let byName: [String: OptionDefinition]
    /// Names that others use: the key of an option, or what there is instead.
    private let synonyms: [String: String]
    private let hasPhases: Bool

    public init(_ declarations: [any OptionDeclaration], presets: [Preset], adjective: String = "", synonyms: [String: String] = [:]) {
        definitions = declarations.map(\.definition)
        self.presets = presets
        self.synonyms = synonyms
        self.adjective = adjective.isEmpty ? "" : adjective + " "
        byName = Dictionary(
            definitions.flatMap { option in Self.names(option).map { ($0, option) } }, uniquingKeysWith: { first, _ in first })
        hasPhases = definitions.contains(where: \.isPerPhase)
    }

    private static func names(_ option: OptionDefinition) -> [String] {
        option.symbol.isEmpty || option.symbol == option.key ? [option.key] : [option.key, option.symbol]
    }

    /// Refuses a table with a mistake in it: two options of the same name, a default or a preset that the options do not take.
    public func check() throws {
        var seen = Set<String>()
        for name in definitions.flatMap(Self.names) where !seen.insert(name).inserted {
            throw MRPError(.internalError, "there are two \(adjective)options '\(name)'")
        }
        for option in definitions {
            try option.validate(option.defaultValue)
            for side in option.sides { _ = try find(side) }
        }
        for (name, meaning) in synonyms where byName[name] != nil || (byName[meaning] == nil && !meaning.contains(" ")) {
            throw MRPError(.internalError, "the synonym '\(name)' is an option, or '\(meaning)' is none")
        }
        for preset in presets { _ = try Options(self, preset: preset.name) }
    }

    /// The phase and the option that a key names. An unknown key is an error that says what it is called here, or names the nearest one.
    func find(_ key: String) throws -> (phase: Phase?, option: OptionDefinition) {
        let phase = hasPhases ? Phase.allCases.first { key.hasPrefix($0.key("")) } : nil
        let name = phase.map { String(key.dropFirst($0.key("").count)) } ?? key
        guard let option = byName[name] else {
            throw MRPError(.argument, "unknown \(adjective)option '\(key)': \(hint(name))")
        }
        return (phase, option)
    }

    /// What to write in the place of an unknown name.
    private func hint(_ name: String) -> String {
        if let meaning = synonyms[name] { return byName[meaning] == nil ? meaning : "it is '\(meaning)' here" }
        return Spelling.nearest(to: name, among: byName.keys).map { "the nearest is '\($0)'" } ?? "none has a similar name"
    }

    /// The option of a key or symbol.
    public func definition(_ name: String) throws -> OptionDefinition { try find(name).option }

    /// The preset of a name. An unknown name is an error that lists all.
    public func preset(_ name: String) throws -> Preset {
        guard let preset = presets.first(where: { $0.name == name }) else {
            let names = presets.map(\.name).joined(separator: ", ")
            throw MRPError(.argument, "unknown \(adjective)preset '\(name)': there are \(names)")
        }
        return preset
    }

    /// Options and presets, for other languages and manuals. Symbols and phases are told where the table has some.
    public func describe() -> JSON {
        let hasSymbols = definitions.contains { !$0.symbol.isEmpty }
        let options = definitions.map { option -> JSON in
            .object(
                [("key", .string(option.key))] + (hasSymbols ? [("symbol", .string(option.symbol))] : [])
                    + [("type", .string(option.typeName)), ("default", .string(option.defaultValue)), ("limits", .string(option.limits))]
                    + (hasPhases ? [("per_phase", .bool(option.isPerPhase))] : [])
                    + [("section", .string(option.section)), ("summary", .string(option.summary))])
        }
        let presets = presets.map { preset -> JSON in
            .object([
                ("name", .string(preset.name)), ("summary", .string(preset.summary)),
                ("values", .object(preset.values.map { ($0.key, .string($0.value)) })),
            ])
        }
        return .object([("options", .array(options)), ("presets", .array(presets))])
    }
}
