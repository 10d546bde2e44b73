import MRPData
import MRPEngine
import Testing

@Suite struct ArrayDatasetTests {
    @Test(arguments: [1, 2, 3, 4, 7]) func bothLayoutsGiveTheSameImages(channels: Int) throws {
        let first = try patterned(3, channels: channels, height: 5, width: 6, layout: .channelsFirst)
        let last = try patterned(3, channels: channels, height: 5, width: 6, layout: .channelsLast)
        let workspace = ImageWorkspace()
        for i in 0..<3 {
            try first.load(i, into: workspace)
            let a = values(workspace.image)
            try last.load(i, into: workspace)
            #expect(a == values(workspace.image))
            for y in 0..<5 {
                for x in 0..<6 { for c in 0..<channels { #expect(a[(y * 6 + x) * channels + c] == Float(pattern(i, c, y, x))) } }
            }
        }
    }

    @Test(arguments: PixelType.allCases) func borrowedArraysAreReleasedOnce(type: PixelType) throws {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 2 * 3 * 4 * 5 * type.bytes, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 1, count: 2 * 3 * 4 * 5 * type.bytes)
        var released = 0
        do {
            let dataset = try ArrayDataset(
                pixels: memory, type: type, layout: .channelsFirst, count: 2, channels: 3, size: ImageSize(height: 4, width: 5),
                release: { released += 1 })
            let workspace = ImageWorkspace()
            try dataset.load(1, into: workspace)
            #expect(workspace.image.size == ImageSize(height: 4, width: 5))
            #expect(dataset.labels == nil && dataset.classNames.isEmpty)
            #expect(released == 0)
        }
        #expect(released == 1)
    }

    @Test func refusesWhatItCannotHold() throws {
        let bytes = [UInt8](repeating: 0, count: 64)
        let size = ImageSize(height: 4, width: 4)
        func make(_ count: Int, _ channels: Int, _ size: ImageSize, labels: [Int32]? = nil, classes: Int? = nil) throws {
            _ = try ArrayDataset(
                pixels: bytes, type: .uint8, layout: .channelsFirst, count: count, channels: channels, size: size, labels: labels,
                classCount: classes)
        }
        expectError(.argument, "count 0 is below 1") { try make(0, 1, size) }
        expectError(.argument, "count -3") { try make(-3, 1, size) }
        expectError(.argument, "channels 0 is outside 1 ... 4096") { try make(1, 0, size) }
        expectError(.argument, "height 0 is outside") { try make(1, 1, ImageSize(height: 0, width: 4)) }
        expectError(.argument, "width 65537") { try make(1, 1, ImageSize(height: 4, width: 65537)) }
        expectError(.argument, "is too large") { try make(Int.max, 3, ImageSize(height: 65536, width: 65536)) }
        expectError(.argument, "label 12 of image 2 is outside 0 ..< 10") { try make(4, 1, size, labels: [0, 1, 12, 3], classes: 10) }
        expectError(.argument, "label -1 of image 0") { try make(4, 1, size, labels: [-1, 1, 2, 3]) }
        expectError(.argument, "classes 0 is outside") { try make(4, 1, size, labels: [0, 0, 0, 0], classes: 0) }
        try make(4, 1, size, labels: [0, 1, 9, 3], classes: 10)
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity]) func refusesNonFiniteImagesByNumber(bad: Float) throws {
        var pixels = [Float](repeating: 0.5, count: 5 * 12)
        pixels[3 * 12 + 7] = bad
        func make() throws {
            _ = try ArrayDataset(
                pixels: pixels, type: .float32, layout: .channelsLast, count: 5, channels: 3, size: ImageSize(height: 2, width: 2))
        }
        expectError(.argument, "image 3 holds") { try make() }
        pixels[3 * 12 + 7] = .greatestFiniteMagnitude
        try make()
    }
}

@Suite struct SubsetTests {
    @Test func stratifiedSubsetsAreBalancedAndFixedBySeed() throws {
        let base = try patterned(103, classes: 4)
        let a = try SubsetDataset.stratified(base, count: 21, seed: 5)
        let b = try SubsetDataset.stratified(base, count: 21, seed: 5)
        let c = try SubsetDataset.stratified(base, count: 21, seed: 6)
        #expect(Array(a.indices) == Array(b.indices))
        #expect(Array(a.indices) != Array(c.indices))
        #expect(Array(a.indices) == Array(a.indices).sorted())
        #expect(Set(a.indices).count == 21)
        var sizes = [0, 0, 0, 0]
        for label in try #require(a.labels) { sizes[Int(label)] += 1 }
        #expect(sizes.min()! >= 5 && sizes.max()! <= 6)
        let workspace = ImageWorkspace(), other = ImageWorkspace()
        try a.load(3, into: workspace)
        try base.load(Int(a.indices[3]), into: other)
        #expect(values(workspace.image) == values(other.image))
    }

    @Test func splitsCoverEverythingOnce() throws {
        let base = try patterned(50)
        let (chosen, rest) = try SubsetDataset.split(base, count: 10, seed: 1)
        #expect((Array(chosen.indices) + Array(rest.indices)).sorted() == (0..<50).map(Int64.init))
        #expect(chosen.count == 10)
    }

    @Test func refusesWhatIsNotThere() throws {
        let base = try patterned(5)
        expectError(.argument, "index 5 at position 1 is outside 0 ..< 5") { _ = try SubsetDataset(base, indices: [0, 5]) }
        expectError(.argument, "the subset is empty") { _ = try SubsetDataset(base, indices: [Int]()) }
        expectError(.argument, "subset count 6 is outside 1 ... 5") { _ = try SubsetDataset.stratified(base, count: 6, seed: 0) }
        expectError(.argument, "subset count 5 is outside 1 ... 4") { _ = try SubsetDataset.split(base, count: 5, seed: 0) }
    }
}

@Suite struct StatisticsTests {
    @Test(arguments: [1, 3, 5]) func agreeWithTheDefinition(channels: Int) throws {
        let dataset = try patterned(20, channels: channels)
        let measured = try #require(try Normalization.measured(on: dataset))
        for c in 0..<channels {
            var sum = 0.0, square = 0.0, n = 0.0
            for i in 0..<20 {
                for y in 0..<8 {
                    for x in 0..<8 {
                        let v = Double(pattern(i, c, y, x)) / 255
                        sum += v; square += v * v; n += 1
                    }
                }
            }
            let mean = sum / n
            #expect(abs(Double(measured.mean[c]) - mean) < 1e-6)
            #expect(abs(Double(measured.std[c]) - (square / n - mean * mean).squareRoot()) < 1e-6)
        }
    }

    @Test func constantChannelsGetDeviationOne() throws {
        let pixels = [UInt8](repeating: 51, count: 16)
        let dataset = try ArrayDataset(
            pixels: pixels, type: .uint8, layout: .channelsFirst, count: 1, channels: 1, size: ImageSize(height: 4, width: 4))
        let measured = try #require(try Normalization.measured(on: dataset))
        #expect(measured.std == [1] && abs(measured.mean[0] - 0.2) < 1e-7)
    }

    @Test func refuseNonsense() {
        func check(_ mean: [Double], _ std: [Double]) throws {
            try Normalization(mean: mean, std: std).check(channels: mean.count)
        }
        expectError(.argument, "std 0.0 of channel 1 is not above 0") { try check([0, 0], [1, 0]) }
        expectError(.argument, "std 1e-60 of channel 0 is not above 0") { try check([0], [1e-60]) }
        expectError(.argument, "is not finite") { try check([.nan], [1]) }
        expectError(.argument, "one of each per channel") { try check([0], [1, 1]) }
    }
}
