import MRPEngine
import Testing

@Suite struct JSONTests {
    @Test(arguments: [
        "null", "true", "-12", "0.5", "1e-06", "\"a\\\"b\\\\c\\n\\u0001é😀\"", "[]", "{}", "[1,[2,{\"k\":null}],\"x\"]",
        "{\"b\":1,\"a\":[true,false]}",
    ])
    func roundTrip(_ text: String) throws {
        #expect(try JSON.parse(text).text() == text)
        #expect(try JSON.parse(JSON.parse(text).text(indent: 2)) == JSON.parse(text))
    }

    @Test(arguments: [
        "", "nul", "tru", "[1,]", "{\"a\":1,}", "{\"a\" 1}", "{\"a\":1,\"a\":2}", "01", "1.", ".5", "+1", "1e", "- 1", "\"a", "\"\u{1}\"",
        "\"\\x\"",
        "\"\\u12\"", "\"\\ud800\"", "\"\\ud800\\u0041\"", "1 2", "[1] x", "{1:2}", "NaN", "1e999", "'a'", "/**/1",
    ])
    func refusesWhatIsNotJSON(_ text: String) {
        let error = #expect(throws: MRPError.self) { try JSON.parse(text) }
        #expect(error?.code == .format)
        #expect(error?.message.hasPrefix("json: ") == true)
    }

    @Test func escapes() throws {
        #expect(try JSON.parse("\"\\u00e9\\ud83d\\ude00\\/\"").string == "é😀/")
    }

    @Test func deepNestingIsRefusedNotFollowed() {
        let text = String(repeating: "[", count: 100_000)
        let error = #expect(throws: MRPError.self) { try JSON.parse(text) }
        #expect(error?.message.contains("nested deeper") == true)
    }

    /// Keys are bytes: different ones are not twice the same, however Unicode compares them.
    @Test func keysAreBytes() throws {
        let json = try JSON.parse("{\"caf\u{e9}\":1,\"cafe\u{301}\":2}")
        #expect(json["caf\u{e9}"]?.integer == 1 && json["cafe\u{301}"]?.integer == 2)
        var map = NameMap<Int>()
        let inserted = [map.insert("\u{e9}", 1), map.insert("e\u{301}", 2), map.insert("\u{e9}", 3)]
        #expect(inserted == [true, true, false] && map.count == 2 && map["\u{e9}"] == 1)
    }

    @Test func combiningMarksWithoutEnd() throws {
        for (count, isRefused) in [(30, false), (31, true)] {
            let text = "\"a" + String(repeating: "\u{301}", count: count) + "b\\n\""
            #expect((try? JSON.parse(text)) == nil ? isRefused : !isRefused)
        }
    }

    @Test func invalidUTF8() {
        let bytes: [UInt8] = [0x22, 0xff, 0x22]
        let error = #expect(throws: MRPError.self) { try bytes.withUnsafeBufferPointer { try JSON.parse($0) } }
        #expect(error?.message == "json: invalid UTF-8 at byte 1")
    }
}
