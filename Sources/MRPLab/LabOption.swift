import MRPEngine
import MRPOptions

/// A declared option of the laboratory and the property of `LabOptions` that holds its value. The property's default is the option's.
struct LabOption: OptionDeclaration {
    let definition: OptionDefinition
    /// The value as text.
    let text: @Sendable (LabOptions) -> String
    let json: @Sendable (LabOptions) -> JSON
    /// Sets the property to what a text says. The error names the option, its symbol, the text and the limits.
    let set: @Sendable (inout LabOptions, String) throws -> Void

    // Paths to a value type's properties are safe to share; Swift 6.3 does not yet infer it in this mode.
    private struct Path<Value>: @unchecked Sendable { let path: WritableKeyPath<LabOptions, Value> }

    private init<Value>(_ option: Option<Value>, _ path: WritableKeyPath<LabOptions, Value>) {
        let at = Path(path: path)
        definition = option.definition
        text = { option.text($0[keyPath: at.path]) }
        json = { options in
            switch options[keyPath: at.path] {
            case let value as Int: .integer(value)
            case let value as Double: .number(value)
            case let value as Bool: .bool(value)
            case let value as [Double]: .array(value.map(JSON.number))
            case let value: .string(option.text(value))
            }
        }
        set = { $0[keyPath: at.path] = try option.parse($1) }
    }

    init<Value>(
        _ key: String, _ symbol: String, _ type: OptionType<Value>, _ path: WritableKeyPath<LabOptions, Value>, _ section: OptionSection,
        _ summary: String
    ) {
        self.init(Option(key, type, default: LabOptions()[keyPath: path], section: section, summary, symbol: symbol), path)
    }

    init<Value>(
        _ key: String, _ type: OptionType<Value>, auto: String, _ path: WritableKeyPath<LabOptions, Value?>, _ section: OptionSection,
        _ summary: String
    ) {
        self.init(Option(key, type, auto: auto, section: section, summary), path)
    }
}
