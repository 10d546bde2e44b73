/// Writes messages in the wire format of Protocol Buffers. Large blocks of bytes are referred to, not copied.
///
/// A field is a tag, (number << 3 | wire type), and a value: type 0 is a varint (7 bits a byte, lowest first, the top bit says that more
/// follow), type 2 a length and so many bytes: a text, or another message.
struct Protobuf {
    enum Piece {
        case bytes([UInt8])
        /// Memory that outlives the message.
        case memory(UnsafeRawBufferPointer)
    }

    private(set) var pieces: [Piece] = []
    private(set) var count = 0

    init() {}

    /// A message with the fields that `write` appends.
    init(_ write: (inout Protobuf) -> Void) { write(&self) }

    private mutating func append(_ bytes: [UInt8]) {
        count += bytes.count
        if case .bytes(let last)? = pieces.last, last.count < 4096 {
            pieces[pieces.count - 1] = .bytes(last + bytes)
        } else {
            pieces.append(.bytes(bytes))
        }
    }

    private static func varint(_ value: UInt64) -> [UInt8] {
        var (value, bytes): (UInt64, [UInt8]) = (value, [])
        while value >= 0x80 {
            bytes.append(UInt8(value & 0x7f) | 0x80)
            value >>= 7
        }
        return bytes + [UInt8(value)]
    }

    private mutating func tag(_ field: Int, _ type: Int) { append(Self.varint(UInt64(field << 3 | type))) }

    mutating func integer(_ field: Int, _ value: Int) {
        tag(field, 0)
        append(Self.varint(UInt64(bitPattern: Int64(value))))
    }

    /// Wire type 5: four bytes.
    mutating func float(_ field: Int, _ value: Float) {
        tag(field, 5)
        append((0..<4).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) })
    }

    /// Wire type 1: eight bytes.
    mutating func double(_ field: Int, _ value: Double) {
        tag(field, 1)
        append((0..<8).map { UInt8(truncatingIfNeeded: value.bitPattern >> (8 * $0)) })
    }

    mutating func text(_ field: Int, _ value: String) {
        tag(field, 2)
        append(Self.varint(UInt64(value.utf8.count)))
        append(Array(value.utf8))
    }

    mutating func memory(_ field: Int, _ value: UnsafeRawBufferPointer) {
        tag(field, 2)
        append(Self.varint(UInt64(value.count)))
        pieces.append(.memory(value))
        count += value.count
    }

    mutating func message(_ field: Int, _ message: Protobuf) {
        tag(field, 2)
        append(Self.varint(UInt64(message.count)))
        for piece in message.pieces {
            switch piece {
            case .bytes(let bytes): append(bytes)
            case .memory(let memory):
                pieces.append(piece)
                count += memory.count
            }
        }
    }

    /// The whole message, copied.
    var bytes: [UInt8] {
        pieces.flatMap { piece -> [UInt8] in
            switch piece {
            case .bytes(let bytes): bytes
            case .memory(let memory): Array(memory)
            }
        }
    }
}
