/// The section of the manual that an option belongs to.
public enum OptionSection: String, Sendable {
    case network, objective, pretraining, training, data, parts, hierarchical, files, run, measurement
    case patchRouting = "patch_routing"
}

/// An option as manuals and other languages see it; all of it follows from its declaration.
public struct OptionDefinition: Sendable {
    public let key: String
    /// A second name, such as the symbol in a paper, or "".
    public let symbol: String
    public let typeName: String
    /// The limits in words, for errors and manuals.
    public let limits: String
    /// The default as text; `auto` is explained in the summary.
    public let defaultValue: String
    public let section: String
    public let summary: String
    /// Whether the key can be prefixed by a phase, `pretrain.` or `finetune.`.
    public fileprivate(set) var isPerPhase = false
    /// Keys of the options that are set with this one.
    let sides: [String]
    fileprivate let check: @Sendable (_ text: String, _ name: String) throws -> Void
    /// The one spelling that the type gives to the value of a text: "0.001" for "1e-3".
    let spelling: @Sendable (_ text: String) -> String

    /// "tau", or "patches_per_feature (C_p)": the key and the symbol, for errors.
    public var name: String { symbol.isEmpty || symbol == key ? key : "\(key) (\(symbol))" }

    /// Refuses a text that is no value of this option. The error (`argument`) names the option, the text and the limits.
    public func validate(_ text: String) throws { try check(text, name) }
}

/// An entry of a table of options.
public protocol OptionDeclaration: Sendable {
    var definition: OptionDefinition { get }
}

/// The declaration of an option, beside the code that reads it: its key, type, default, limits and documentation.
public struct Option<Value: Sendable>: OptionDeclaration {
    public let definition: OptionDefinition
    public let defaultValue: Value
    let type: OptionType<Value>

    public var key: String { definition.key }

    /// An option with a default.
    ///
    /// - Parameters:
    ///   - summary: sentences for the manual, which has type, limits and default beside them.
    ///   - symbol: a second name, such as the symbol in a paper.
    ///   - sides: options that are set with this one.
    public init(
        _ key: String, _ type: OptionType<Value>, default defaultValue: Value, section: OptionSection, _ summary: String,
        symbol: String = "", sides: [Option<Value>] = []
    ) {
        self.type = type
        self.defaultValue = defaultValue
        definition = OptionDefinition(
            key: key, symbol: symbol, typeName: type.name, limits: type.limits, defaultValue: type.text(defaultValue),
            section: section.rawValue, summary: summary, sides: sides.map(\.key), check: { _ = try type.parse($0, $1) },
            spelling: { text in (try? type.parse(text, key)).map(type.text) ?? text })
    }

    /// An option that may be `auto`, and is so by default: it reads as nil, and its value follows from the phase, the model or the data.
    ///
    /// - Parameters:
    ///   - auto: what it then is; the manual has it after the summary.
    public init<Given>(
        _ key: String, _ type: OptionType<Given>, auto: String, section: OptionSection, _ summary: String, symbol: String = ""
    ) where Value == Given? {
        let prose = summary.hasSuffix(".") ? String(summary.dropLast()) : summary
        self.init(key, type.orAuto, default: nil, section: section, "\(prose); auto: \(auto).", symbol: symbol)
    }

    /// The same option, which can also be set for one phase alone.
    public var perPhase: PhaseOption<Value> { PhaseOption(option: self) }

    /// The value of a text. The error (`argument`) names the option, the text and the limits.
    public func parse(_ text: String) throws -> Value { try type.parse(text, definition.name) }

    /// The value of a text that was checked; the default for none.
    func value(_ text: String?) -> Value { text.flatMap { try? parse($0) } ?? defaultValue }

    /// The text of a value.
    public func text(_ value: Value) -> String { type.text(value) }
}

/// An option that can be set for one phase alone, and is read for a phase.
public struct PhaseOption<Value: Sendable>: OptionDeclaration {
    let option: Option<Value>

    public var key: String { option.key }
    public var defaultValue: Value { option.defaultValue }

    public var definition: OptionDefinition {
        var definition = option.definition
        definition.isPerPhase = true
        return definition
    }
}
