import Glibc
import MRPData
import MRPEngine
import Testing

/// Fails for one image, after a while.
private final class FailingDataset: ImageDataset {
    let base: ArrayDataset
    let bad: Set<Int>
    var count: Int { base.count }
    var channels: Int { base.channels }
    var imageSize: ImageSize? { base.imageSize }
    var classNames: [String] { base.classNames }
    var labels: UnsafeBufferPointer<Int32>? { base.labels }
    init(_ base: ArrayDataset, bad: Set<Int>) { (self.base, self.bad) = (base, bad) }
    func load(_ index: Int, into workspace: ImageWorkspace) throws {
        if bad.contains(index) { throw MRPError(.format, "broken-\(index).jpg: premature end") }
        try base.load(index, into: workspace)
    }
}

/// Takes 5 ms per image.
private final class SlowDataset: ImageDataset {
    let base: ArrayDataset
    var count: Int { base.count }
    var channels: Int { base.channels }
    var imageSize: ImageSize? { base.imageSize }
    var classNames: [String] { base.classNames }
    var labels: UnsafeBufferPointer<Int32>? { base.labels }
    init(_ base: ArrayDataset) { self.base = base }
    func load(_ index: Int, into workspace: ImageWorkspace) throws {
        usleep(5000)
        try base.load(index, into: workspace)
    }
}

@Suite struct LoaderTests {
    private func loader(
        _ dataset: ImageDataset, _ options: LoaderOptions, _ augmentation: Augmentation = .padCropFlip(padding: 2)
    ) throws -> BatchLoader {
        try BatchLoader(
            dataset, augmentation: augmentation, normalization: .identity(channels: dataset.channels), options: options)
    }

    @Test func contentDoesNotDependOnThreadsOrQueue() throws {
        let dataset = try patterned(37)
        let expected = try take(loader(dataset, LoaderOptions(batchSize: 5, seed: 9, threads: 0)), 20)
        #expect(expected.count == 20 && expected[7].epoch == 1 && expected[7].step == 0)
        for (threads, depth) in [(1, 2), (1, 3), (2, 2), (3, 5), (7, 4)] {
            let options = LoaderOptions(batchSize: 5, seed: 9, threads: threads, queueDepth: depth)
            #expect(try take(loader(dataset, options), 20) == expected, "threads \(threads), depth \(depth)")
        }
        #expect(try take(loader(dataset, LoaderOptions(batchSize: 5, seed: 10, threads: 0)), 20) != expected)
    }

    @Test func everyEpochShowsEachImageOnceInANewOrder() throws {
        let dataset = try patterned(23)
        let batches = try take(loader(dataset, LoaderOptions(batchSize: 4, dropLast: false, threads: 2, epochs: 3)), 100)
        #expect(batches.count == 18)
        let epochs = (0..<3).map { e in batches.filter { $0.epoch == e }.flatMap(\.indices) }
        for order in epochs { #expect(order.sorted() == (0..<23).map(Int64.init)) }
        #expect(epochs[0] != epochs[1] && epochs[1] != epochs[2])
        #expect(batches[5].indices.count == 3)
        for batch in batches { for (i, index) in batch.indices.enumerated() { #expect(batch.labels[i] == Int32(Int(index) * 7 % 4)) } }
    }

    @Test func dropsTheLastOrNot() throws {
        let dataset = try patterned(23)
        #expect(try loader(dataset, LoaderOptions(batchSize: 4)).stepsPerEpoch == 5)
        #expect(try loader(dataset, LoaderOptions(batchSize: 4, dropLast: false)).stepsPerEpoch == 6)
        #expect(try loader(dataset, LoaderOptions(batchSize: 40, dropLast: false)).stepsPerEpoch == 1)
        expectError(.argument, "batch_size 24 is larger than the dataset of 23 images") {
            _ = try loader(dataset, LoaderOptions(batchSize: 24))
        }
    }

    @Test(arguments: [0, 2]) func startsAnywhere(threads: Int) throws {
        let dataset = try patterned(37)
        let options = LoaderOptions(batchSize: 5, seed: 9, threads: threads)
        let expected = try take(loader(dataset, options), 30)
        let other = try loader(dataset, options)
        for start in [0, 6, 7, 12, 25, 3] {
            try other.seek(epoch: start / 7, step: start % 7)
            #expect(other.position.epoch == start / 7 && other.position.step == start % 7)
            #expect(try take(other, 4) == Array(expected[start..<start + 4]))
            #expect(other.position.epoch == (start + 4) / 7 && other.position.step == (start + 4) % 7)
        }
        expectError(.argument, "there is no step 7 in epoch 0") { try other.seek(epoch: 0, step: 7) }
        expectError(.argument, "there is no step 0 in epoch -1") { try other.seek(epoch: -1, step: 0) }
    }

    @Test(arguments: [0, 1, 3]) func normalisesIntoPlanes(threads: Int) throws {
        let dataset = try patterned(6, channels: 4, height: 5, width: 9)
        let normalization = Normalization(mean: [0.1, 0.2, 0.3, 0.4], std: [0.5, 0.25, 0.125, 1])
        var options = LoaderOptions.evaluation(batchSize: 4, threads: threads)
        options.queueDepth = 2
        let batches = try take(BatchLoader(dataset, normalization: normalization, options: options), 10)
        #expect(batches.map(\.indices) == [[0, 1, 2, 3], [4, 5]])
        let pixels = batches.flatMap(\.images)
        var at = 0
        for i in 0..<6 {
            for c in 0..<4 {
                for y in 0..<5 {
                    for x in 0..<9 {
                        let expected = (Double(pattern(i, c, y, x)) / 255 - normalization.mean[c]) / normalization.std[c]
                        #expect(abs(Double(pixels[at]) - expected) < 2e-6)
                        at += 1
                    }
                }
            }
        }
    }

    @Test(arguments: [0, 2]) func failuresNameTheImageAndTheNextBatchComes(threads: Int) throws {
        let dataset = FailingDataset(try patterned(20), bad: [6, 7])
        var options = LoaderOptions.evaluation(batchSize: 4, threads: threads)
        options.queueDepth = 3
        let loader = try loader(dataset, options, .none)
        #expect(try take(loader, 1).first?.indices == [0, 1, 2, 3])
        expectError(.format, "broken-6.jpg: premature end") { _ = try loader.next() }
        #expect(try take(loader, 9).map { $0.indices[0] } == [8, 12, 16])
        guard case .end = try loader.next() else { Issue.record("expected the end"); return }
    }

    @Test(arguments: [0, 1, 2]) func cancelsAndGoesOn(threads: Int) throws {
        let dataset = SlowDataset(try patterned(64))
        let options = LoaderOptions(batchSize: 32, threads: threads)
        let slow = try loader(dataset, options)
        let flag = UnsafeMutablePointer<Int32>.allocate(capacity: 1)
        flag.initialize(to: 1)
        defer { flag.deallocate() }
        guard case .cancelled = try slow.next(cancel: flag) else { Issue.record("expected cancelled"); return }
        flag.pointee = 0
        let batches = try take(slow, 1)
        #expect(try take(loader(dataset.base, options), 1) == batches)
    }

    @Test func endsCleanlyWithWorkInHand() throws {
        let dataset = SlowDataset(try patterned(64))
        for _ in 0..<5 {
            let slow = try loader(dataset, LoaderOptions(batchSize: 4, threads: 3))
            #expect(try take(slow, 1).count == 1)
        }
    }

    @Test func aForkedChildIsToldAndDoesNotHang() throws {
        let dataset = try patterned(64)
        var inherited: BatchLoader? = try loader(dataset, LoaderOptions(batchSize: 4, threads: 2))
        let own = try loader(dataset, LoaderOptions(batchSize: 4, threads: 2))
        _ = try take(inherited!, 2)
        let expected = try take(loader(dataset, LoaderOptions(batchSize: 4, threads: 0)), 3)
        // Posix fork by its symbol: Swift hides the function.
        let symbol = try #require(dlsym(nil, "fork"))
        let child = unsafeBitCast(symbol, to: (@convention(c) () -> Int32).self)()
        if child == 0 {
            var code: Int32 = 1
            do { _ = try inherited!.next() } catch let error as MRPError where error.code == .forked { code = 0 } catch {}
            inherited = nil
            // A loader whose threads had not started works in the child.
            if (try? take(own, 3)) != expected { code = 2 }
            _exit(code)
        }
        var status: Int32 = -1
        var waited = 0
        while waitpid(child, &status, WNOHANG) == 0 {
            usleep(10_000)
            waited += 1
            if waited > 3000 {
                kill(child, SIGKILL)
                waitpid(child, &status, 0)
                Issue.record("the child hung")
                return
            }
        }
        #expect(status == 0)
        #expect(try take(inherited!, 1).count == 1)
    }

    @Test func refusesOptionsOutOfRange() throws {
        let dataset = try patterned(8)
        expectError(.argument, "batch_size 0 is outside") { _ = try loader(dataset, LoaderOptions(batchSize: 0)) }
        expectError(.argument, "loader_threads -1") { _ = try loader(dataset, LoaderOptions(batchSize: 1, threads: -1)) }
        expectError(.argument, "queue_depth 1 is outside 2 ... 64") { _ = try loader(dataset, LoaderOptions(batchSize: 1, queueDepth: 1)) }
        expectError(.argument, "padding 8 is not below the image's shorter side 8") {
            _ = try loader(dataset, LoaderOptions(batchSize: 1), .padCropFlip(padding: 8))
        }
        expectError(.argument, "the normalization has 1 channels, the images 3") {
            _ = try BatchLoader(dataset, normalization: .identity(channels: 1), options: LoaderOptions(batchSize: 1))
        }
    }
}

@Suite struct AugmentationTests {
    @Test func padCropMovesByAtMostThePaddingAndMirrors() throws {
        let dataset = try patterned(1, channels: 1, height: 6, width: 7)
        let workspace = ImageWorkspace()
        var offsets: Set<Int> = []
        for epoch in 0..<200 {
            try dataset.load(0, into: workspace)
            try Augmentation([PadCrop(padding: 2)]).apply(workspace, seed: 4, epoch: epoch, sample: 0)
            let got = values(workspace.image)
            var matches = 0
            for top in -2...2 {
                for left in -2...2 {
                    var same = true
                    for y in 0..<6 {
                        for x in 0..<7 {
                            var (sy, sx) = (abs(y + top), abs(x + left))
                            if sy > 5 { sy = 10 - sy }
                            if sx > 6 { sx = 12 - sx }
                            same = same && got[y * 7 + x] == Float(pattern(0, 0, sy, sx))
                        }
                    }
                    if same { matches += 1; offsets.insert(top * 10 + left) }
                }
            }
            #expect(matches == 1)
        }
        #expect(offsets.count == 25)
    }

    @Test(arguments: PixelType.allCases, [1, 2, 3, 4, 5]) func flipMirrors(type: PixelType, channels: Int) throws {
        let (height, width) = (3, 5)
        let bytes = (0..<height * width * channels * 4).map { UInt8(truncatingIfNeeded: $0 * 37 % 100) }
        let dataset = try bytes.withUnsafeBytes {
            try ArrayDataset(
                pixels: $0.baseAddress!, type: type, layout: .channelsLast, count: 1, channels: channels,
                size: ImageSize(height: height, width: width))
        }
        let workspace = ImageWorkspace()
        try dataset.load(0, into: workspace)
        let before = values(workspace.image)
        try Augmentation([HorizontalFlip(probability: 1)]).apply(workspace, seed: 0, epoch: 0, sample: 0)
        let after = values(workspace.image)
        for y in 0..<height {
            for x in 0..<width {
                for c in 0..<channels {
                    #expect(after[(y * width + x) * channels + c] == before[(y * width + width - 1 - x) * channels + c])
                }
            }
        }
        try Augmentation([HorizontalFlip(probability: 0)]).apply(workspace, seed: 0, epoch: 0, sample: 0)
        #expect(values(workspace.image) == after)
    }

    @Test func flipsHalfOfTheImages() throws {
        var flipped = 0
        for sample in 0..<2000 {
            var random = SampleRandom(seed: 1, epoch: 3, sample: sample, position: 1)
            if random.uniform() < 0.5 { flipped += 1 }
        }
        #expect(flipped > 900 && flipped < 1100)
    }

    @Test func addingAStepLeavesTheNumbersOfTheOthers() {
        var a = SampleRandom(seed: 1, epoch: 0, sample: 7, position: 0)
        for _ in 0..<37 { _ = a.word() }
        var b = SampleRandom(seed: 1, epoch: 0, sample: 7, position: 1), c = SampleRandom(seed: 1, epoch: 0, sample: 7, position: 1)
        #expect(b.word() == c.word())
        var d = SampleRandom(seed: 1, epoch: 1, sample: 7, position: 1), e = SampleRandom(seed: 1, epoch: 0, sample: 8, position: 1)
        let first = [b.word(), d.word(), e.word()]
        #expect(Set(first).count == 3)
    }
}
