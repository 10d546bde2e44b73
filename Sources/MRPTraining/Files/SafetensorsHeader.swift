import MRPEngine

/// The header of a safetensors file, read strictly and in one pass: what it holds is checked as it comes, so that a hostile header
/// costs no more memory than its own size.
struct SafetensorsHeader {
    static let maximumDimensions = 64

    private(set) var entries = NameMap<SafetensorsFile.Entry>()
    private(set) var metadata = NameMap<String>()
    let dataStart: Int

    init(_ bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count >= 8 else { throw Self.failure("\(bytes.count) bytes are too few for a header length") }
        let length = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(SafetensorsFile.maximumHeaderBytes) else {
            throw Self.failure("header length \(length) is over the limit of \(SafetensorsFile.maximumHeaderBytes)")
        }
        guard 8 + Int(length) <= bytes.count else {
            throw Self.failure("header length \(length) exceeds the \(bytes.count) bytes of the file")
        }
        guard length >= 2 else { throw Self.failure("header length \(length) is too small for a JSON object") }
        guard bytes[8] == UInt8(ascii: "{") else { throw Self.failure("the header does not begin with '{'") }
        dataStart = 8 + Int(length)
        // An entry of 70 bytes of text becomes one of some 300.
        try Memory.check(Int(length), bytesEach: 6, for: "a header of \(length) bytes")
        let text = UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart]).bindMemory(to: UInt8.self)
        try read(text, dataBytes: bytes.count - dataStart)
        try checkCoverage(dataBytes: bytes.count - dataStart)
    }

    private static func failure(_ text: String) -> MRPError { MRPError(.format, text) }

    /// A name as errors show it.
    private static func shown(_ name: String) -> String { name.utf8.count <= 200 ? "'\(name)'" : "'\(name.prefix(100))...'" }

    private mutating func read(_ text: UnsafeBufferPointer<UInt8>, dataBytes: Int) throws {
        var parser = JSONParser(bytes: text)
        var hasMetadata = false
        try Self.object(&parser) { parser, name in
            if name == "__metadata__" {
                guard !hasMetadata else { throw Self.failure("__metadata__ appears twice") }
                hasMetadata = true
                try readMetadata(&parser)
            } else {
                let entry = try Self.entry(name, &parser, dataBytes: dataBytes)
                guard entries.insert(name, entry) else {
                    throw Self.failure("tensor \(Self.shown(name)) appears twice")
                }
            }
        }
        parser.skipSpace()
        guard parser.next == nil else { throw parser.failure("text after the end") }
    }

    /// Reads `{"name": VALUE, ...}`; `member` reads each value.
    private static func object(_ parser: inout JSONParser, member: (inout JSONParser, String) throws -> Void) throws {
        try parser.expect("{")
        if parser.take("}") { return }
        repeat {
            try Interruption.check()
            parser.skipSpace()
            let name = try parser.string()
            try parser.expect(":")
            parser.skipSpace()
            try member(&parser, name)
        } while parser.take(",")
        try parser.expect("}")
    }

    private mutating func readMetadata(_ parser: inout JSONParser) throws {
        guard parser.next == UInt8(ascii: "{") else { throw Self.failure("__metadata__ is not an object") }
        try Self.object(&parser) { parser, key in
            guard parser.next == UInt8(ascii: "\"") else { throw Self.failure("metadata \(Self.shown(key)) is not a string") }
            guard metadata.insert(key, try parser.string()) else {
                throw Self.failure("metadata \(Self.shown(key)) appears twice")
            }
        }
    }

    private static func entry(_ name: String, _ parser: inout JSONParser, dataBytes: Int) throws -> SafetensorsFile.Entry {
        let tensor = "tensor \(shown(name))"
        guard parser.next == UInt8(ascii: "{") else { throw failure("\(tensor) is not described by an object") }
        var format: ElementFormat?
        var shape: [Int]?
        var offsets: [Int]?
        try object(&parser) { parser, key in
            switch key {
            case "dtype":
                guard format == nil else { throw failure("\(tensor) has two values of dtype") }
                guard parser.next == UInt8(ascii: "\"") else { throw failure("dtype of \(tensor) is not a string") }
                let text = try parser.string()
                format = ElementFormat(rawValue: text)
                if format == nil { throw failure("\(tensor) has the unknown dtype \(shown(text))") }
            case "shape":
                guard shape == nil else { throw failure("\(tensor) has two values of shape") }
                shape = try sizes(&parser, "shape of \(tensor)", limit: maximumDimensions)
            case "data_offsets":
                guard offsets == nil else { throw failure("\(tensor) has two values of data_offsets") }
                offsets = try sizes(&parser, "data_offsets of \(tensor)", limit: 2)
            default: throw failure("\(tensor) has the unknown key \(shown(key))")
            }
        }
        guard let format else { throw failure("\(tensor) has no dtype") }
        guard let shape else { throw failure("\(tensor) has no shape") }
        guard let offsets else { throw failure("\(tensor) has no data_offsets") }
        guard offsets.count == 2 else { throw failure("data_offsets of \(tensor) has length \(offsets.count), expected 2") }
        let (begin, end) = (offsets[0], offsets[1])
        guard begin <= end else { throw failure("\(tensor) begins at byte \(begin), after its end at \(end)") }
        guard end <= dataBytes else { throw failure("\(tensor) ends at byte \(end), beyond the \(dataBytes) bytes of data") }
        let needed = try byteCount(format, shape, tensor)
        guard needed == end - begin else {
            throw failure(
                "\(tensor) of shape \(shape) and dtype \(format.rawValue) needs \(needed) bytes, its data_offsets give \(end - begin)")
        }
        return SafetensorsFile.Entry(name: name, format: format, shape: shape, begin: begin, end: end)
    }

    private static func sizes(_ parser: inout JSONParser, _ what: String, limit: Int) throws -> [Int] {
        guard parser.take("[") else { throw failure("\(what) is not an array") }
        var values: [Int] = []
        if parser.take("]") { return values }
        repeat {
            guard values.count < limit else { throw failure("\(what) is longer than \(limit)") }
            parser.skipSpace()
            guard let digit = parser.next, digit == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(digit) else {
                throw failure("\(what) holds something that is not a number")
            }
            let value = try parser.value(depth: 0)
            guard let size = value.integer else {
                throw failure("\(what) holds \(value.text()), which is not an integer that fits 63 bits")
            }
            guard size >= 0 else { throw failure("\(what) holds the negative \(size)") }
            values.append(size)
        } while parser.take(",")
        try parser.expect("]")
        return values
    }

    private static func byteCount(_ format: ElementFormat, _ shape: [Int], _ tensor: String) throws -> Int {
        var bits = format.bits
        for size in shape {
            let (product, overflow) = bits.multipliedReportingOverflow(by: size)
            guard !overflow else { throw failure("\(tensor) of shape \(shape) is too large") }
            bits = product
        }
        guard bits % 8 == 0 else {
            throw failure("\(tensor) of shape \(shape) and dtype \(format.rawValue) is not a whole number of bytes")
        }
        return bits / 8
    }

    private func checkCoverage(dataBytes: Int) throws {
        var position = 0
        for entry in entries.values.sorted(by: { ($0.begin, $0.end, ByteName($0.name)) < ($1.begin, $1.end, ByteName($1.name)) }) {
            guard entry.begin >= position else {
                throw Self.failure(
                    "tensor \(Self.shown(entry.name)) begins at byte \(entry.begin) and overlaps the one that ends at \(position)")
            }
            guard entry.begin == position else {
                throw Self.failure(
                    "bytes \(position) to \(entry.begin) before tensor \(Self.shown(entry.name)) belong to no tensor: a hole")
            }
            position = entry.end
        }
        guard position == dataBytes else { throw Self.failure("\(dataBytes - position) bytes after the last tensor") }
    }
}
