import Testing

/// Reads event files by the format's description alone, checksums bit by bit.
enum EventReader {
    struct Event {
        var step = 0
        var version = ""
        var startsSession = false
        var values: [String: Float] = [:]
    }

    static func read(_ bytes: [UInt8]) throws -> [Event] {
        var events: [Event] = []
        var at = 0
        func little(_ count: Int) -> UInt64 { (0..<count).reduce(0) { $0 | UInt64(bytes[at + $1]) << (8 * UInt64($1)) } }
        while at < bytes.count {
            let length = Int(little(8))
            try #require(at + 16 + length <= bytes.count)
            at += 8
            #expect(UInt32(little(4)) == masked(bytes[at - 8..<at]))
            at += 4
            let data = bytes[at..<at + length]
            at += length
            #expect(UInt32(little(4)) == masked(data))
            at += 4
            events.append(try event(Array(data)))
        }
        return events
    }

    private static func masked(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc >> 1 ^ (crc & 1 == 1 ? 0x82f6_3b78 : 0) }
        }
        crc = ~crc
        return (crc >> 15 | crc << 17) &+ 0xa282_ead8
    }

    private static func fields(_ bytes: [UInt8]) throws -> [(number: Int, integer: UInt64, data: [UInt8])] {
        var result: [(Int, UInt64, [UInt8])] = []
        var at = 0
        func varint() -> UInt64 {
            var (value, shift): (UInt64, UInt64) = (0, 0)
            while true {
                let byte = bytes[at]
                at += 1
                value |= UInt64(byte & 127) << shift
                if byte < 128 { return value }
                shift += 7
            }
        }
        while at < bytes.count {
            let tag = varint()
            switch tag & 7 {
            case 0: result.append((Int(tag >> 3), varint(), []))
            case 2:
                let length = Int(varint())
                result.append((Int(tag >> 3), 0, Array(bytes[at..<at + length])))
                at += length
            default:
                let length = tag & 7 == 1 ? 8 : 4
                result.append((Int(tag >> 3), 0, Array(bytes[at..<at + length])))
                at += length
            }
        }
        return result
    }

    private static func event(_ bytes: [UInt8]) throws -> Event {
        var event = Event()
        for field in try fields(bytes) {
            switch field.number {
            case 1: #expect(field.data.count == 8)
            case 2: event.step = Int(field.integer)
            case 3: event.version = String(decoding: field.data, as: UTF8.self)
            case 5:
                for entry in try fields(field.data) {
                    let parts = try fields(entry.data)
                    let tag = try #require(parts.first { $0.number == 1 }).data
                    let value = try #require(parts.first { $0.number == 2 }).data
                    event.values[String(decoding: tag, as: UTF8.self)] = Float(
                        bitPattern: (0..<4).reduce(UInt32(0)) { $0 | UInt32(value[$1]) << (8 * UInt32($1)) })
                }
            case 7: event.startsSession = try fields(field.data).contains { $0.number == 1 && $0.integer == 1 }
            default: Issue.record("field \(field.number)")
            }
        }
        return event
    }
}
