import Glibc

/// A path as the system has it: bytes without a NUL, which need not be UTF-8.
public struct FilePath: Sendable {
    /// With a NUL at the end.
    let bytes: [CChar]

    public init(_ text: String) { bytes = text.utf8CString.map { $0 } }

    public init(_ path: UnsafePointer<CChar>) {
        var length = 0
        while path[length] != 0 { length += 1 }
        bytes = Array(UnsafeBufferPointer(start: path, count: length + 1))
    }

    private init(bytes: [CChar]) { self.bytes = bytes }

    /// The name in its folder, without what follows its last dot.
    var stem: [CChar] {
        let name = Array(bytes.dropLast().split(separator: 47).last ?? [])
        return name.lastIndex(of: 46).map { Array(name[..<$0]) } ?? name
    }

    /// An entry of the folder that this path names.
    func entry(_ name: UnsafePointer<CChar>) -> FilePath {
        var joined = Array(bytes.dropLast())
        if joined.last != 47 { joined.append(47) }
        return FilePath(bytes: joined + FilePath(name).bytes)
    }

    func entry(_ name: String) -> FilePath { name.withCString { entry($0) } }

    /// Whether something is there that can be read.
    var exists: Bool { withCString { access($0, R_OK) } == 0 }

    public func withCString<Result>(_ body: (UnsafePointer<CChar>) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBufferPointer { buffer in
            guard let start = buffer.baseAddress else { return try "".withCString(body) }
            return try body(start)
        }
    }

    /// For people, and for what must be UTF-8: bytes that are not appear as \xNN.
    public var text: String { withCString(Self.text) }

    /// The same of any bytes that end with a NUL. Different bytes give different texts.
    static func text(_ bytes: UnsafePointer<CChar>) -> String {
        if let text = String(validatingCString: bytes) { return text }
        let all = FilePath(bytes).bytes.dropLast().map { UInt8(bitPattern: $0) }
        var (result, place, parser, rest) = ("", 0, Unicode.UTF8.ForwardParser(), all.makeIterator())
        while true {
            switch parser.parseScalar(from: &rest) {
            case .valid(let encoded):
                result.unicodeScalars.append(Unicode.UTF8.decode(encoded))
                place += encoded.count
            case .error(let length):
                for byte in all[place..<place + length] { result += "\\x\(String(byte, radix: 16))" }
                place += length
            case .emptyInput: return result
            }
        }
    }
}
