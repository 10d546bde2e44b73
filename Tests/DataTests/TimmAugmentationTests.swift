import MRPData
import MRPEngine
import TestSupport
import Testing

/// RandAugment, colour jitter, random erasing, mixup and cutmix.
@Suite struct TimmAugmentationTests {
    /// What timm's operations make of an image (tools/fixtures/make_augmentation_fixtures.py): the same bytes.
    @Test(arguments: ["rgb", "gray"]) func operationsAreTimms(_ kind: String) throws {
        let (height, count) = (21, RandAugment.operationCount * 6)
        let workspace = ImageWorkspace()
        try ImageFile.load(Fixtures.folder + "rand_augment_\(kind).png", into: workspace)
        let sheet = workspace.image
        try #require(sheet.height == Int64(height * (count + 1)))
        let expected = values(sheet)
        let size = ImageSize(height: height, width: Int(sheet.width))
        let perImage = height * Int(sheet.width * sheet.channels)
        let source = try ArrayDataset(
            pixels: expected[..<perImage].map { UInt8($0) }, type: .uint8, layout: .channelsLast, count: 1, channels: Int(sheet.channels),
            size: size)
        var augment = try RandAugment("rand-m9-mstd0.5-inc1")
        augment.fill = [124, 116, 104]
        var place = 1
        for operation in 0..<RandAugment.operationCount {
            for level in [9.0, 9.6, 4.3] {
                for negative in [false, true] {
                    let workspace = ImageWorkspace()
                    try source.load(0, into: workspace)
                    try augment.operation(operation, level: level, negative: negative).apply(workspace, fill: augment.fill, "test")
                    let found = values(workspace.image)
                    let wrong = zip(found, expected[(place * perImage)...].prefix(perImage)).count { $0 != $1 }
                    #expect(wrong == 0, "operation \(operation) at \(level), \(negative): \(wrong) of \(perImage) values differ")
                    place += 1
                }
            }
        }
    }

    /// What torchvision makes of an image (tools/fixtures/make_augmentation_fixtures.py): the same bytes.
    @Test func theHueIsTorchvisions() throws {
        let (height, turns) = (24, [-0.5, -0.31, -0.003, 0.0, 0.004, 0.1, 0.25, 0.5])
        let workspace = ImageWorkspace()
        try ImageFile.load(Fixtures.folder + "hue.png", into: workspace)
        let expected = values(workspace.image)
        let size = ImageSize(height: height, width: Int(workspace.image.width))
        let perImage = 3 * height * size.width
        try #require(expected.count == perImage * (turns.count + 1))
        let source = try ArrayDataset(
            pixels: expected[..<perImage].map { UInt8($0) }, type: .uint8, layout: .channelsLast, count: 1, channels: 3, size: size)
        for (place, turn) in turns.enumerated() {
            try source.load(0, into: workspace)
            try PixelOperation.hue(turn).apply(workspace, fill: [], "test")
            let wrong = zip(values(workspace.image), expected[((place + 1) * perImage)...]).count { $0 != $1 }
            #expect(wrong == 0, "turn \(turn): \(wrong) of \(perImage) values differ")
        }
    }

    /// What Pillow and torchvision make of an image (tools/fixtures/make_augmentation_fixtures.py): the same bytes.
    @Test(arguments: ["rgb", "gray"]) func changesArePillows(_ kind: String) throws {
        let workspace = ImageWorkspace()
        try ImageFile.load(Fixtures.folder + "changes_\(kind).png", into: workspace)
        let (expected, channels) = (values(workspace.image), Int(workspace.image.channels))
        let size = ImageSize(height: 21, width: Int(workspace.image.width))
        let perImage = channels * size.height * size.width
        let source = try ArrayDataset(
            pixels: expected[..<perImage].map { UInt8($0) }, type: .uint8, layout: .channelsLast, count: 1, channels: channels, size: size)
        let blurs = [0.1, 0.5, 1, 1.37, 2, 9.5].map { PixelOperation.blur(deviation: $0) }
        let operations = blurs + [.solarize(threshold: 128), .color(0)]
        try #require(expected.count == perImage * (operations.count + 1))
        for (place, operation) in operations.enumerated() {
            try source.load(0, into: workspace)
            try operation.apply(workspace, fill: [], "test")
            let wrong = zip(values(workspace.image), expected[((place + 1) * perImage)...]).count { $0 != $1 }
            #expect(wrong == 0, "\(operation): \(wrong) of \(perImage) values differ")
        }
    }

    @Test(arguments: [RandomChange.Kind.grayscale, .blur, .solarize]) func changesAreRandom(_ kind: RandomChange.Kind) throws {
        let images = try patterned(300, height: 8, width: 8)
        let steps = Augmentation([RandomChange(kind, probability: 0.3)])
        var changed = 0
        for sample in 0..<300 {
            let workspace = ImageWorkspace()
            try images.load(sample, into: workspace)
            let before = values(workspace.image)
            try steps.apply(workspace, seed: 2, epoch: 0, sample: sample)
            changed += values(workspace.image) == before ? 0 : 1
        }
        #expect((60...120).contains(changed), "\(kind): \(changed) of 300")
        expectError(.argument, "\(kind.rawValue) 1.5 is outside [0, 1]") {
            _ = try Augmentation([RandomChange(kind, probability: 1.5)]).outputSize(for: nil, channels: 3)
        }
        expectError(.argument, "\(kind.rawValue) is made for images of 1 or 3 channels, these have 4") {
            _ = try Augmentation([RandomChange(kind, probability: 1)]).outputSize(for: nil, channels: 4)
        }
    }

    @Test func theHueIsDrawnEvenly() throws {
        let red = try ArrayDataset(
            pixels: [UInt8](repeating: 200, count: 64) + [UInt8](repeating: 50, count: 128), type: .uint8, layout: .channelsFirst, count: 1,
            channels: 3, size: ImageSize(height: 8, width: 8))
        var (greener, bluer, seen) = (0, 0, Set<[Float]>())
        for sample in 0..<400 {
            let workspace = ImageWorkspace()
            try red.load(0, into: workspace)
            try Augmentation([ColorJitter(strength: 0, hue: 0.1)]).apply(workspace, seed: 2, epoch: 0, sample: sample)
            let pixel = Array(values(workspace.image)[..<3])
            #expect(pixel[0] == 200 && pixel.min() == 50)  // within a tenth of a turn red stays the largest, brightness and range stay
            #expect(max(pixel[1], pixel[2]) <= 50 + 150 * 0.6 + 2)
            greener += pixel[1] > 50 ? 1 : 0
            bluer += pixel[2] > 50 ? 1 : 0
            seen.insert(pixel)
        }
        #expect((160...230).contains(greener) && (160...230).contains(bluer), "\(greener) \(bluer)")
        #expect(seen.count > 40)  // of 51 turns
    }

    @Test func theHueNeedsThreeChannels() throws {
        for channels in [1, 2, 4] {
            expectError(.argument, "hue_jitter is made for images of 3 channels, these have \(channels)") {
                _ = try Augmentation([ColorJitter(strength: 0, hue: 0.1)]).outputSize(for: nil, channels: channels)
            }
        }
        expectError(.argument, "hue_jitter 0.6 is outside [0, 0.5]") {
            _ = try Augmentation([ColorJitter(strength: 0, hue: 0.6)]).outputSize(for: nil, channels: 3)
        }
    }

    @Test func theNotationIsTimms() throws {
        let augment = try RandAugment("rand-m9-n3-p0.25-mstd0.5-mmax12-inc1")
        #expect(augment.magnitude == 9 && augment.layers == 3 && augment.probability == 0.25)
        #expect(augment.deviation == 0.5 && augment.maximum == 12 && augment.isIncreasing)
        let short = try RandAugment("7")
        #expect(short.magnitude == 7 && short.deviation == 0.5 && short.isIncreasing && short.layers == 2)
        #expect(try RandAugment("m5-mstd101").deviation == .infinity)
        for text in ["m", "x9", "m9--inc1", "m9-n0", "m9-p2", "-1", "m9 inc1"] {
            expectError(.argument, "rand_augment '\(text)'") { _ = try RandAugment(text) }
        }
    }

    @Test func theDrawsAreSpreadAsTimmSpreadsThem() throws {
        // About a quarter of the draws leaves the image alone.
        let dataset = try patterned(400, height: 16, width: 16)
        let steps = Augmentation([try RandAugment("m9-mstd0.5-inc1")])
        var (same, different) = (0, Set<[Float]>())
        for i in 0..<400 {
            let workspace = ImageWorkspace()
            try dataset.load(i, into: workspace)
            let before = values(workspace.image)
            try steps.apply(workspace, seed: 1, epoch: 0, sample: i)
            let once = values(workspace.image)
            try dataset.load(i, into: workspace)
            try steps.apply(workspace, seed: 1, epoch: 0, sample: i)
            #expect(values(workspace.image) == once)
            if once == before { same += 1 }
            different.insert(once)
        }
        #expect((70...180).contains(same), "\(same)")
        #expect(different.count > 380)  // a few become all black, or white
    }

    @Test func otherImagesAreRefused() throws {
        let wide = try patterned(4, channels: 5)
        for step in [try RandAugment("9"), ColorJitter(strength: 0.4)] as [any AugmentationStep] {
            expectError(.argument, "1 or 3 channels, these have 5") {
                _ = try BatchLoader(
                    wide, augmentation: Augmentation([step]), normalization: .identity(channels: 5), options: LoaderOptions(batchSize: 2))
            }
        }
        let floats = try ArrayDataset(
            pixels: [Float](repeating: 0.5, count: 3 * 64), type: .float32, layout: .channelsFirst, count: 1, channels: 3,
            size: ImageSize(height: 8, width: 8))
        let workspace = ImageWorkspace()
        try floats.load(0, into: workspace)
        var random = SampleRandom(seed: 0, epoch: 0, sample: 0, position: 0)
        expectError(.argument, "made for 8-bit images, these are floats") { try ColorJitter(strength: 1).apply(workspace, &random) }
    }

    @Test func colorJitterStaysInItsRange() throws {
        let gray = try ArrayDataset(
            pixels: [UInt8](repeating: 100, count: 64), type: .uint8, layout: .channelsFirst, count: 1, channels: 1,
            size: ImageSize(height: 8, width: 8))
        var seen: [Float] = []
        for sample in 0..<200 {
            let workspace = ImageWorkspace()
            try gray.load(0, into: workspace)
            try Augmentation([ColorJitter(strength: 0.4)]).apply(workspace, seed: 2, epoch: 0, sample: sample)
            seen.append(values(workspace.image)[0])  // of a flat image only the brightness changes
        }
        #expect(seen.allSatisfy { (60...140).contains($0) })
        #expect(seen.contains { $0 < 70 } && seen.contains { $0 > 130 })
    }

    @Test(arguments: RandomErasing.Mode.allCases) func erasingCoversItsShare(_ mode: RandomErasing.Mode) throws {
        let (size, channels, images) = (ImageSize(height: 40, width: 30), 5, 400)
        let dataset = try ArrayDataset(
            pixels: [Float](repeating: 7, count: images * channels * 1200), type: .float32, layout: .channelsFirst, count: images,
            channels: channels, size: size)
        var options = LoaderOptions(batchSize: images, sampler: SequentialSampler())
        options.threads = 2
        let loader = try BatchLoader(
            dataset, augmentation: Augmentation(finishing: [RandomErasing(probability: 0.25, mode: mode)]),
            normalization: .identity(channels: channels), options: options)
        let batch = try #require(take(loader, 1).first)
        var (erased, area, noise) = (0, 0.0, [Double]())
        for image in 0..<images {
            let planes = (0..<channels).map { c in
                Array(batch.images[((image * channels + c) * 1200)..<((image * channels + c + 1) * 1200)])
            }
            let hole = planes[0].indices.filter { planes[0][$0] != 7 }
            for plane in planes { #expect(plane.indices.filter { plane[$0] != 7 } == hole) }
            guard let first = hole.first, let last = hole.last else { continue }
            let (rows, columns) = (last / 30 - first / 30 + 1, last % 30 - first % 30 + 1)
            #expect(rows * columns == hole.count && rows < 40 && columns < 30)
            erased += 1
            area += Double(hole.count) / 1200
            noise += planes.flatMap { plane in hole.map { Double(plane[$0]) } }
        }
        #expect((70...130).contains(erased), "\(erased) of 400 at 0.25")
        #expect(abs(area / Double(erased) - 0.17) < 0.04)  // the mean of 0.02 ... 1/3, less what does not fit
        let mean = noise.reduce(0, +) / Double(noise.count)
        let variance = noise.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(noise.count)
        #expect(abs(mean) < 0.02 && abs(variance - (mode == .pixel ? 1 : 0)) < 0.02)
    }

    /// Numbers of timm 1.0.31: Mixup with share 0.7, smoothing 0.1.
    @Test func mixingIsTimms() {
        var images = (0..<48).map { Float($0) }
        var targets = [Float](repeating: 0, count: 12)
        let size = ImageSize(height: 2, width: 3)
        let share = images.withUnsafeMutableBufferPointer {
            BatchMixing.apply(.mix(share: 0.7), $0.baseAddress!, count: 4, channels: 2, size: size)
        }
        #expect(share == 0.7)
        for i in 0..<48 {
            let (own, other) = (Float(i), Float((3 - i / 12) * 12 + i % 12))
            #expect(abs(images[i] - (0.7 * own + 0.3 * other)) < 1e-5)
        }
        BatchMixing.targets([2, 0, 1, 1], count: 4, classes: 3, share: 0.7, smoothing: 0.1, into: &targets)
        let expected: [Float] = [
            0.03333, 0.30333, 0.66333, 0.66333, 0.30333, 0.03333, 0.30333, 0.66333, 0.03333, 0.03333, 0.66333, 0.30333,
        ]
        for (a, b) in zip(targets, expected) { #expect(abs(a - b) < 1e-4) }

        images = (0..<48).map { Float($0) }
        let cut = BatchMixing.Draw.cut(top: 1, left: 1, size: ImageSize(height: 1, width: 2))
        let rest = images.withUnsafeMutableBufferPointer {
            BatchMixing.apply(cut, $0.baseAddress!, count: 4, channels: 2, size: size)
        }
        #expect(abs(rest - 4.0 / 6) < 1e-12)
        for i in 0..<48 {
            let inside = i % 6 >= 4
            #expect(images[i] == Float(inside ? (3 - i / 12) * 12 + i % 12 : i))
        }
    }

    @Test func theSharesAreBeta() {
        let size = ImageSize(height: 32, width: 32)
        for alpha in [0.2, 0.8, 1.0, 3.0] {
            var shares: [Double] = []
            for step in 0..<4000 {
                guard case .mix(let share) = BatchMixing(mixup: alpha, cutmix: 0).draw(seed: 3, step: step, size: size) else { continue }
                shares.append(share)
            }
            #expect(shares.count == 4000)
            let mean = shares.reduce(0, +) / 4000
            let variance = shares.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4000
            #expect(abs(mean - 0.5) < 0.02, "alpha \(alpha): mean \(mean)")
            #expect(abs(variance - 1 / (4 * (2 * alpha + 1))) < 0.01, "alpha \(alpha): variance \(variance)")
        }
        let both = BatchMixing(mixup: 0.8, cutmix: 1, probability: 0.5)
        let draws = (0..<2000).map { both.draw(seed: 1, step: $0, size: size) }
        let none = draws.count { $0 == .none }
        let cuts = draws.count { if case .cut = $0 { true } else { false } }
        #expect(abs(none - 1000) < 120 && abs(cuts - 500) < 100)
        for case .cut(let top, let left, let box) in draws {
            #expect(top >= 0 && left >= 0 && top + box.height <= 32 && left + box.width <= 32)
        }
    }

    @Test func unreadableImagesAreSkippedAndNamed() throws {
        let folder = try TemporaryFolder()
        let good = try Fixtures.bytes("rgb.png")
        for name in ["a", "c", "d"] { try folder.write("x/\(name).png", good) }
        try folder.write("y/b.png", Array("not an image".utf8))
        try folder.write("y/e.png", good)
        let dataset = try ImageFolderDataset(folder.path)
        var options = LoaderOptions(batchSize: 5, sampler: SequentialSampler(), epochs: 1)
        let augmentation = Augmentation.resize(size: ImageSize(height: 8, width: 8))
        func loader() throws -> BatchLoader {
            try BatchLoader(dataset, augmentation: augmentation, normalization: .identity(channels: 3), options: options)
        }
        expectError(.format, "y/b.png") { _ = try take(loader(), 1) }
        options.skipsUnreadable = true
        let skipping = try loader()
        let batch = try #require(take(skipping, 1).first)
        #expect(batch.indices == [0, 1, 2, 4, 4] && batch.labels == [0, 0, 0, 1, 1])
        #expect(skipping.unreadable.keys.sorted() == [3])
        #expect(skipping.unreadable[3]?.contains("y/b.png") == true)
        #expect(try Normalization.measured(on: dataset, skipsUnreadable: true) != nil)
        expectError(.format, "y/b.png") { _ = try Normalization.measured(on: dataset) }
    }
}
