/// A JSON value (RFC 8259). Objects keep the order of their keys, so that written files are the same every time.
public enum JSON: Equatable, Sendable {
    case null
    case bool(Bool)
    /// A number without fraction or exponent that fits.
    case integer(Int)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([(key: String, value: JSON)])

    public static func == (left: JSON, right: JSON) -> Bool {
        switch (left, right) {
        case (.null, .null): return true
        case (.bool(let a), .bool(let b)): return a == b
        case (.integer(let a), .integer(let b)): return a == b
        case (.number(let a), .number(let b)): return a == b
        case (.string(let a), .string(let b)): return a == b
        case (.array(let a), .array(let b)): return a == b
        case (.object(let a), .object(let b)):
            return a.count == b.count && zip(a, b).allSatisfy { $0.key == $1.key && $0.value == $1.value }
        default: return false
        }
    }

    public subscript(key: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        let wanted = ByteName(key)
        return members.first { ByteName($0.key) == wanted }?.value
    }

    public var integer: Int? { if case .integer(let value) = self { value } else { nil } }
    public var string: String? { if case .string(let value) = self { value } else { nil } }
    public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    public var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    public var members: [(key: String, value: JSON)]? { if case .object(let value) = self { value } else { nil } }
    public var number: Double? {
        switch self {
        case .integer(let value): return Double(value)
        case .number(let value): return value
        default: return nil
        }
    }

    // MARK: Writing

    /// The text; with `indent` one member or element a line. NaN and infinities, which JSON lacks, are written as null.
    public func text(indent: Int? = nil) -> String {
        var output = ""
        write(to: &output, indent: indent, depth: 0)
        return output
    }

    private func write(to output: inout String, indent: Int?, depth: Int) {
        switch self {
        case .null: output += "null"
        case .bool(let value): output += value ? "true" : "false"
        case .integer(let value): output += String(value)
        case .number(let value): output += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.quote(value, into: &output)
        case .array(let values):
            let flat = values.allSatisfy { $0.array == nil && $0.members == nil }
            Self.list("[", "]", values.count, flat ? nil : indent, depth, &output) {
                values[$1].write(to: &$0, indent: indent, depth: depth + 1)
            }
        case .object(let members):
            Self.list("{", "}", members.count, indent, depth, &output) {
                Self.quote(members[$1].key, into: &$0)
                $0 += indent == nil ? ":" : ": "
                members[$1].value.write(to: &$0, indent: indent, depth: depth + 1)
            }
        }
    }

    private static func list(
        _ open: String, _ close: String, _ count: Int, _ indent: Int?, _ depth: Int, _ output: inout String,
        element: (inout String, Int) -> Void
    ) {
        output += open
        for index in 0..<count {
            if let indent { output += "\n" + String(repeating: " ", count: indent * (depth + 1)) }
            element(&output, index)
            if index + 1 < count { output += "," }
        }
        if let indent, count > 0 { output += "\n" + String(repeating: " ", count: indent * depth) }
        output += close
    }

    private static func quote(_ text: String, into output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\r": output += "\\r"
            case "\t": output += "\\t"
            default:
                if scalar.value < 0x20 {
                    let hex = String(scalar.value, radix: 16)
                    output += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
                } else {
                    output.unicodeScalars.append(scalar)
                }
            }
        }
        output += "\""
    }
}
