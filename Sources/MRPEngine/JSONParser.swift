extension JSON {
    /// Deeper nesting is refused, so that a hostile file cannot exhaust the stack.
    static let maximumDepth = 64

    /// Reads one JSON text from UTF-8 bytes. Strict: no comments, no trailing commas, no duplicate keys, nothing after the value
    /// but white space. Throws `MRP_ERR_FORMAT` with the byte position.
    public static func parse(_ bytes: UnsafeBufferPointer<UInt8>) throws -> JSON {
        var parser = JSONParser(bytes: bytes)
        let value = try parser.value(depth: 0)
        parser.skipSpace()
        guard parser.position == bytes.count else { throw parser.failure("text after the end") }
        return value
    }

    public static func parse(_ text: String) throws -> JSON {
        try Array(text.utf8).withUnsafeBufferPointer { try parse($0) }
    }
}

/// Reads a JSON text piece by piece, for formats whose values must not all be held in memory at once.
public struct JSONParser {
    let bytes: UnsafeBufferPointer<UInt8>
    public private(set) var position = 0

    public init(bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    public func failure(_ what: String) -> MRPError { MRPError(.format, "json: \(what) at byte \(position)") }

    public var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    public mutating func skipSpace() {
        while let byte = next, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }

    public mutating func expect(_ character: Unicode.Scalar) throws {
        skipSpace()
        guard next == UInt8(ascii: character) else { throw failure("expected '\(character)'") }
        position += 1
    }

    public mutating func take(_ character: Unicode.Scalar) -> Bool {
        skipSpace()
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    public mutating func value(depth: Int) throws -> JSON {
        guard depth < JSON.maximumDepth else { throw failure("nested deeper than \(JSON.maximumDepth)") }
        skipSpace()
        switch next {
        case UInt8(ascii: "{"): return try object(depth: depth)
        case UInt8(ascii: "["): return try array(depth: depth)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    mutating func word(_ text: StaticString, _ value: JSON) throws -> JSON {
        let length = text.utf8CodeUnitCount
        guard position + length <= bytes.count, (0..<length).allSatisfy({ bytes[position + $0] == text.utf8Start[$0] }) else {
            throw failure("unknown word")
        }
        position += length
        return value
    }

    mutating func object(depth: Int) throws -> JSON {
        try expect("{")
        var members: [(key: String, value: JSON)] = []
        var keys = Set<ByteName>()
        if take("}") { return .object([]) }
        repeat {
            try Interruption.check()
            skipSpace()
            let key = try string()
            guard keys.insert(ByteName(key)).inserted else { throw failure("duplicate key '\(key)'") }
            try expect(":")
            members.append((key, try value(depth: depth + 1)))
        } while take(",")
        try expect("}")
        return .object(members)
    }

    mutating func array(depth: Int) throws -> JSON {
        try expect("[")
        var values: [JSON] = []
        if take("]") { return .array([]) }
        repeat { values.append(try value(depth: depth + 1)) } while take(",")
        try expect("]")
        return .array(values)
    }

    mutating func number() throws -> JSON {
        let start = position
        if next == UInt8(ascii: "-") { position += 1 }
        let firstDigit = position
        var isInteger = true
        while let byte = next {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): break
            case UInt8(ascii: "."), UInt8(ascii: "e"), UInt8(ascii: "E"), UInt8(ascii: "+"), UInt8(ascii: "-"): isInteger = false
            default:
                return try finish(start, firstDigit, isInteger)
            }
            position += 1
        }
        return try finish(start, firstDigit, isInteger)
    }

    private func finish(_ start: Int, _ firstDigit: Int, _ isInteger: Bool) throws -> JSON {
        guard position > firstDigit, bytes[firstDigit] >= UInt8(ascii: "0"), bytes[firstDigit] <= UInt8(ascii: "9") else {
            throw failure("expected a value")
        }
        if bytes[firstDigit] == UInt8(ascii: "0"), position > firstDigit + 1, bytes[firstDigit + 1] >= UInt8(ascii: "0"),
            bytes[firstDigit + 1] <= UInt8(ascii: "9")
        {
            throw failure("a number with a leading zero")
        }
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        if isInteger, let value = Int(text) { return .integer(value) }
        guard let last = text.utf8.last, last >= UInt8(ascii: "0"), last <= UInt8(ascii: "9"), !text.contains(".e"),
            !text.contains(".E"), let value = Double(text), value.isFinite
        else { throw failure("a malformed number") }
        return .number(value)
    }

    public mutating func string() throws -> String {
        guard next == UInt8(ascii: "\"") else { throw failure("expected a string") }
        position += 1
        // Most strings have no escape: they need no copy of their bytes.
        var end = position
        while end < bytes.count, bytes[end] != UInt8(ascii: "\""), bytes[end] != UInt8(ascii: "\\"), bytes[end] >= 0x20 { end += 1 }
        if end < bytes.count, bytes[end] == UInt8(ascii: "\"") {
            let units = UnsafeBufferPointer(rebasing: bytes[position..<end])
            guard let text = String(validating: units, as: UTF8.self) else { throw failure("invalid UTF-8") }
            try checkMarks(text, units)
            position = end + 1
            return text
        }
        var units = Array(bytes[position..<end])
        position = end
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let text = String(validating: units, as: UTF8.self) else { throw failure("invalid UTF-8") }
                try units.withUnsafeBufferPointer { try checkMarks(text, $0) }
                return text
            case UInt8(ascii: "\\"): try escape(into: &units)
            case 0..<0x20: throw failure("a control character in a string")
            default: units.append(byte)
            }
        }
        throw failure("an unfinished string")
    }

    /// Combining marks in a row; as Unicode's stream-safe text (UAX 15). Putting them in order takes time that grows with the square of their number.
    private static let mostMarks = 30

    private func checkMarks(_ text: String, _ units: UnsafeBufferPointer<UInt8>) throws {
        guard units.contains(where: { $0 >= 0xcc }) else { return }  // marks begin at U+0300
        var marks = 0
        for scalar in text.unicodeScalars {
            marks = scalar.value >= 0x300 && scalar.properties.canonicalCombiningClass != .notReordered ? marks + 1 : 0
            guard marks <= Self.mostMarks else { throw failure("more than \(Self.mostMarks) combining marks in a row") }
        }
    }

    private mutating func escape(into units: inout [UInt8]) throws {
        guard let byte = next else { throw failure("an unfinished string") }
        position += 1
        let simple: [UInt8: UInt8] = [
            0x22: 0x22, 0x5c: 0x5c, 0x2f: 0x2f, UInt8(ascii: "b"): 8, UInt8(ascii: "f"): 12, UInt8(ascii: "n"): 10,
            UInt8(ascii: "r"): 13, UInt8(ascii: "t"): 9,
        ]
        if let unit = simple[byte] { return units.append(unit) }
        guard byte == UInt8(ascii: "u") else { throw failure("an unknown escape") }
        var code = try hexadecimal()
        if code >= 0xd800, code < 0xdc00 {
            guard next == 0x5c, position + 1 < bytes.count, bytes[position + 1] == UInt8(ascii: "u") else {
                throw failure("an unpaired surrogate")
            }
            position += 2
            let low = try hexadecimal()
            guard low >= 0xdc00, low < 0xe000 else { throw failure("an unpaired surrogate") }
            code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw failure("an unpaired surrogate") }
        units += Array(String(scalar).utf8)
    }

    private mutating func hexadecimal() throws -> UInt32 {
        guard position + 4 <= bytes.count else { throw failure("an unfinished escape") }
        var code: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue else { throw failure("a malformed escape") }
            code = code << 4 | UInt32(digit)
            position += 1
        }
        return code
    }
}
