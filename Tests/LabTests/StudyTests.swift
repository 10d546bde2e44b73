import Glibc
import MRPEngine
import MRPLab
import Testing

private func contents(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var text = ""
    while let line = readLine(file) { text += line }
    return text
}

private func readLine(_ file: UnsafeMutablePointer<FILE>) -> String? {
    var buffer = [CChar](repeating: 0, count: 4_096)
    guard fgets(&buffer, Int32(buffer.count), file) != nil else { return nil }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

private func write(_ bytes: [UInt8], to path: String) {
    guard let file = fopen(path, "w") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
}

@Suite struct StudyTests {
    private static func study() throws -> Study {
        var options = LabOptions()
        options.classes = 2
        options.dimension = 8
        options.patches = 6
        options.presence = 0
        options.kernelsPerClass = 4
        options.pretrainSamples = 20
        options.pretrainSteps = 5
        options.finetune = false
        options.supervised = false
        options.frozenProbe = false
        options.seeds = 2
        options.threads = 2
        return try Study(options, axes: [.init("tau", ["1.0", "1.2"]), .init("theta", ["0.4", "0.6", "0.8"])])
    }

    private static func temporaryPath() -> String { "/tmp/mrp-study-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max)).csv" }

    @Test func aStoppedStudyEndsWithTheSameFile() throws {
        let study = try Self.study()
        let (whole, parts) = (Self.temporaryPath(), Self.temporaryPath())
        defer { unlink(whole); unlink(parts) }
        #expect(study.count == 12)
        #expect(try study.run(path: whole))
        let expected = contents(whole)
        #expect(expected.split(separator: "\n").count == 13)
        #expect(expected.hasPrefix("tau,theta,seed,growth,kappa,outcome,captured,"))
        #expect(try study.run(path: parts) { rows, _ in rows < 5 } == false)
        #expect(contents(parts).split(separator: "\n").count == 7)
        // A line that was cut off while it was written.
        let file = try #require(fopen(parts, "a"))
        fputs("1.2,0.4", file)
        fclose(file)
        #expect(try study.run(path: parts))
        #expect(contents(parts) == expected)
        #expect(try study.run(path: parts))
        #expect(contents(parts) == expected)
    }

    @Test func anotherStudysFileIsRefused() throws {
        let path = Self.temporaryPath()
        defer { unlink(path) }
        let study = try Self.study()
        #expect(try study.run(path: path) { rows, _ in rows < 2 } == false)
        var options = study.options
        options.pretrainSteps = 6
        #expect(throws: MRPError.self) { try Study(options, axes: study.axes).run(path: path) }
        #expect(throws: MRPError.self) { try Study(study.options, axes: [.init("mu", ["0.1"])]).run(path: path) }
        #expect(throws: MRPError.self) { try study.run(path: "/nonexistent/folder/study.csv") }
    }

    /// A file that does not begin as the study's does is left as it is, whatever it is.
    @Test func filesThatAreNoStudyAreLeftAlone() throws {
        let study = try Self.study()
        let path = Self.temporaryPath()
        defer { unlink(path) }
        #expect(try study.run(path: path) { rows, _ in rows < 2 } == false)
        let header = contents(path).prefix { $0 != "\n" }
        for text in [
            "{\"json\": [1, 2, 3]}", "no newline at all", "\u{FFFD}\n\n", "\n", "tau,other\n1,2\n", header + ",more\n1,2\n",
            header + "\nnot a row\n", header + "\r\n1.0,0.4,0,of another study\r\n1.0,0.",
        ].map({ Array($0.utf8) }) + [[0xff, 0xfe, 0x0a], [0xff, 0xfe, 0x80]] {
            write(text, to: path)
            let error = #expect(throws: MRPError.self) { try study.run(path: path) }
            #expect(error?.code == .format)
            #expect(Array(contents(path).utf8) == Array(String(decoding: text, as: UTF8.self).utf8))
        }
    }

    /// Spreadsheets write other line ends: no row is lost, and new rows have them too. A header that was cut off is written anew.
    @Test func lineEndsStayAndACutHeaderIsMended() throws {
        let study = try Self.study()
        let (path, whole) = (Self.temporaryPath(), Self.temporaryPath())
        defer { unlink(path); unlink(whole) }
        #expect(try study.run(path: whole))
        let expected = contents(whole)
        #expect(try study.run(path: path) { rows, _ in rows < 5 } == false)
        write(Array(contents(path).replacing("\n", with: "\r\n").utf8) + Array("1.2,0.".utf8), to: path)
        #expect(try study.run(path: path))
        #expect(contents(path) == expected.replacing("\n", with: "\r\n"))
        for beginning in ["", "tau,the", String(expected.prefix { $0 != "\n" })] {
            write(Array(beginning.utf8), to: path)
            #expect(try study.run(path: path))
            #expect(contents(path) == expected)
        }
    }

    @Test func aStudyFileIsWrittenByOneStudyAtATime() throws {
        let study = try Self.study()
        let path = Self.temporaryPath()
        defer { unlink(path) }
        var refused = 0
        #expect(
            try study.run(path: path) { _, _ in
                let error = #expect(throws: MRPError.self) { try study.run(path: path) }
                if error?.code == .state { refused += 1 }
                return refused < 2
            } == false)
        #expect(refused == 2)
        #expect(try study.run(path: path))
        unlink(path)
        mkfifo(path, 0o600)
        #expect(throws: MRPError.self) { try study.run(path: path) }
    }

    @Test func wrongAxesAreRefused() {
        let options = LabOptions()
        #expect(throws: MRPError.self) { try Study(options, axes: []) }
        #expect(throws: MRPError.self) { try Study(options, axes: [.init("tau", [])]) }
        #expect(throws: MRPError.self) { try Study(options, axes: [.init("tau", ["11"])]) }
        #expect(throws: MRPError.self) { try Study(options, axes: [.init("threads", ["1"])]) }
        #expect(throws: MRPError.self) { try Study(options, axes: [.init("mu", ["0.1"]), .init("single_fraction", ["0.2"])]) }
    }

    @Test func axesAreReadFromText() throws {
        let axes = try Study.Axis.parse(" tau = 1.0 ,1.1;theta=0.4")
        #expect(axes.map(\.key) == ["tau", "theta"])
        #expect(axes.map(\.values) == [["1.0", "1.1"], ["0.4"]])
        #expect(try Study.Axis.parse("tau= ").map(\.values) == [[]])
        #expect(try Study.Axis.parse("tau=1,,2").map(\.values) == [["1", "", "2"]])
        for text in ["", "tau", "tau=1;", ";"] { #expect(throws: MRPError.self) { try Study.Axis.parse(text) } }
    }

    @Test func valuesThatDoNotFitTheOthersAreRefusedAtOnce() {
        #expect(throws: MRPError.self) { try Study(LabOptions(), axes: [.init("k", ["10", "50"])]) }
    }
}
