import MRPData
import MRPEngine
import Testing

/// Slices of a global batch, and several views of a sample.
@Suite struct BatchTests {
    private let steps = Augmentation([PadCrop(padding: 2), HorizontalFlip()], finishing: [RandomErasing(probability: 0.5)])

    private func loader(_ count: Int, _ options: LoaderOptions, _ augmentations: [Augmentation]) throws -> BatchLoader {
        try BatchLoader(patterned(count), augmentations: augmentations, normalization: .identity(channels: 3), options: options)
    }

    private func take(_ count: Int, _ slice: BatchSlice, views: Int = 1, dropLast: Bool = true) throws -> [BatchCopy] {
        var options = LoaderOptions(batchSize: 1, seed: 5, dropLast: dropLast, threads: 2, epochs: 2)
        (options.slice, options.views) = (slice, views)
        return try DataTests.take(loader(count, options, [steps]), 100)
    }

    @Test(arguments: [1, 2]) func slicesTogetherAreTheBatch(views: Int) throws {
        let whole = try take(37, BatchSlice(first: 0, count: 8, total: 8), views: views)
        let parts = try [BatchSlice(first: 0, count: 4, total: 8), BatchSlice(first: 4, count: 4, total: 8)].map {
            try take(37, $0, views: views)
        }
        #expect(whole.count == 8 && parts.allSatisfy { $0.count == 8 })
        for (step, batch) in whole.enumerated() {
            #expect(parts.flatMap { $0[step].images } == batch.images)
            #expect(parts.flatMap { $0[step].labels } == batch.labels)
            #expect(parts.flatMap { $0[step].indices } == batch.indices)
        }
    }

    @Test func aShortLastBatchIsCutAtTheSamePlaces() throws {
        let slices = try [(0, 3), (3, 3), (6, 2)].map { try BatchSlice(first: $0.0, count: $0.1, total: 8) }
        let whole = try take(13, BatchSlice(whole: 8), dropLast: false)
        let parts = try slices.map { try take(13, $0, dropLast: false) }
        #expect(whole.map(\.indices.count) == [8, 5, 8, 5])
        #expect(parts.map { $0[1].indices.count } == [3, 2, 0])
        for step in 0..<4 { #expect(parts.flatMap { $0[step].images } == whole[step].images) }
    }

    @Test func aBatchSaysWhichPlacesItHolds() throws {
        var options = LoaderOptions(batchSize: 8, dropLast: false)
        options.slice = try BatchSlice(first: 3, count: 3, total: 8)
        let loader = try loader(13, options, [.none])
        var seen: [BatchSlice] = []
        for _ in 0..<2 { if case .batch(let batch) = try loader.next() { seen.append(batch.slice) } }
        #expect(seen == [try BatchSlice(first: 3, count: 3, total: 8), try BatchSlice(first: 3, count: 2, total: 5)])
        for (first, count, total) in [(0, 9, 8), (5, 4, 8), (-1, 2, 8), (0, -1, 8), (Int.max, 1, 8)] {
            expectError(.argument, "\(count) images from place \(first) on are not a part of a batch of \(total)") {
                _ = try BatchSlice(first: first, count: count, total: total)
            }
        }
        options.slice = try BatchSlice(first: 3, count: 0, total: 8)
        expectError(.argument, "slice of a batch 0 is outside 1 ... 8") { _ = try self.loader(13, options, [.none]) }
    }

    @Test(arguments: [0, 3]) func viewsAreAugmentedIndependently(threads: Int) throws {
        var options = LoaderOptions(batchSize: 6, seed: 2, threads: threads)
        let single = try DataTests.take(loader(20, options, [steps]), 5)
        options.views = 3
        let several = try DataTests.take(loader(20, options, [steps]), 5)
        let values = 3 * 64
        var same = 0
        for (one, batch) in zip(single, several) {
            #expect(batch.labels == one.labels && batch.indices == one.indices && batch.images.count == 3 * one.images.count)
            for sample in 0..<6 {
                let views = (0..<3).map { Array(batch.images[(3 * sample + $0) * values..<(3 * sample + $0 + 1) * values]) }
                #expect(views[0] == Array(one.images[sample * values..<(sample + 1) * values]))
                same += Set(views).count < 3 ? 1 : 0
            }
        }
        #expect(same < 4, "\(same) of 30 samples have equal views")  // 50 crops and flips, half of them erased
    }

    @Test func viewsHaveStreamsOfTheirOwn() {
        var words: Set<UInt32> = []
        for view in 0..<8 {
            for position in 0..<4 {
                var random = SampleRandom(seed: 1, epoch: 2, sample: 3, position: position, view: view)
                for _ in 0..<16 { words.insert(random.word()) }
            }
        }
        #expect(words.count == 8 * 4 * 16)
    }

    @Test func viewsMayHaveTheirOwnAugmentations() throws {
        var options = LoaderOptions(batchSize: 4, seed: 2)
        options.views = 2
        let flip = Augmentation([HorizontalFlip(probability: 1)])
        let batch = try #require(DataTests.take(loader(9, options, [.none, flip]), 1).first)
        for (sample, index) in batch.indices.enumerated() {
            for place in 0..<3 * 64 {
                let (c, y, x) = (place / 64, place % 64 / 8, place % 8)
                #expect(batch.images[(2 * sample) * 192 + place] == Float(pattern(Int(index), c, y, x)) * Float(1.0 / 255))
                #expect(batch.images[(2 * sample + 1) * 192 + place] == Float(pattern(Int(index), c, y, 7 - x)) * Float(1.0 / 255))
            }
        }
        expectError(.argument, "3 augmentations were given for 2 views") { _ = try loader(9, options, [.none, .none, .none]) }
        expectError(.argument, "view 1 is 4 x 4 after augmentation, view 0 is 8 x 8") {
            _ = try loader(9, options, [.none, .resize(size: ImageSize(height: 4, width: 4))])
        }
        options.views = 0
        expectError(.argument, "views 0 is outside 1 ... 256") { _ = try loader(9, options, [.none]) }
    }
}
