import MRPData
import MRPEngine
import Testing

@Suite struct SyntheticTests {
    /// FNV-1a, so that the pixels are the same on every machine and in every version.
    private func hash(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        bytes.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
    }

    @Test func imagesAreNumbersOfOneSequence() throws {
        let all = try SyntheticDataset(count: 30, seed: 3)
        let tail = try SyntheticDataset(count: 10, seed: 3, firstImage: 20)
        let per = 32 * 32 * 3
        #expect(Array(all.bytes[(20 * per)...]) == Array(tail.bytes))
        #expect(Array(tail.labels!) == Array(all.labels!)[20...].map { $0 })
        let other = try SyntheticDataset(count: 30, seed: 4)
        #expect(hash(all.bytes) != hash(other.bytes))
        #expect(Set((0..<30).map { hash(UnsafeRawBufferPointer(rebasing: all.bytes[$0 * per..<($0 + 1) * per])) }).count == 30)
    }

    @Test func sceneTellsWhatIsShown() throws {
        let dataset = try SyntheticDataset(count: 1000, singleViewFraction: 0.25, seed: 1)
        var single = 0, onlyFirst = 0
        for i in 0..<1000 {
            let scene = try #require(dataset.scene(of: i))
            #expect(scene.label == i % 10 && Int32(scene.label) == dataset.labels![i])
            let shown = scene.parts.compactMap { $0 }
            #expect(shown.count == (scene.isMultiView ? 2 : 1))
            for part in shown { #expect(part.radius > 5 && part.row > 0 && part.row < 32 && part.column > 0 && part.column < 32) }
            if !scene.isMultiView {
                single += 1
                if scene.parts[0] != nil { onlyFirst += 1 }
            }
        }
        #expect(single > 190 && single < 310)
        #expect(onlyFirst > single / 3 && onlyFirst < single * 2 / 3)
        #expect(dataset.scene(of: 1000) == nil && dataset.scene(of: -1) == nil)
    }

    @Test(arguments: [0.0, 1.0]) func viewsCanBeForced(fraction: Double) throws {
        let dataset = try SyntheticDataset(count: 50, singleViewFraction: fraction)
        for i in 0..<50 { #expect(dataset.scene(of: i)?.isMultiView == (fraction == 0)) }
    }

    @Test(arguments: [(1, 16, 16, 2), (4, 24, 48, 7), (3, 64, 32, 100), (13, 17, 19, 5)])
    func takesAnyShape(channels: Int, height: Int, width: Int, classes: Int) throws {
        let size = ImageSize(height: height, width: width)
        let dataset = try SyntheticDataset(count: 12, classes: classes, channels: channels, size: size)
        #expect(dataset.bytes.count == 12 * channels * height * width)
        #expect(dataset.classNames.count == classes)
        let normalization = try #require(try Normalization.measured(on: dataset))
        for std in normalization.std { #expect(std > 0.05 && std < 0.5) }
    }

    @Test func refusesNumbersOutOfRange() {
        expectError(.argument, "count 0 is outside") { _ = try SyntheticDataset(count: 0) }
        expectError(.argument, "classes 1 is outside 2 ... 100") { _ = try SyntheticDataset(count: 1, classes: 1) }
        expectError(.argument, "height 8 is outside 16 ... 1024") {
            _ = try SyntheticDataset(count: 1, size: ImageSize(height: 8, width: 32))
        }
        expectError(.argument, "single_view_fraction nan is outside [0, 1]") {
            _ = try SyntheticDataset(count: 1, singleViewFraction: .nan)
        }
        expectError(.argument, "channels 65 is outside 1 ... 64") { _ = try SyntheticDataset(count: 1, channels: 65) }
    }
}
