import MRPData
import MRPEngine
import MRPOptions
import Testing

/// Image `epoch` over and over, three times as many examples as images.
private struct RepeatingSampler: Sampler {
    let name = "repeating"
    func examplesPerEpoch(of dataset: ImageDataset) -> Int { 3 * dataset.count }
    func writeOrder(of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>) {
        order.update(repeating: Int64(epoch % dataset.count))
    }
}

/// Fails in epoch 1 and gives an image that does not exist in epoch 2.
private struct FailingSampler: Sampler {
    let name = "failing"
    func examplesPerEpoch(of dataset: ImageDataset) -> Int { 4 }
    func writeOrder(of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>) throws {
        if epoch == 1 { throw MRPError(.state, "no order today") }
        order.update(repeating: epoch == 2 ? Int64(dataset.count) : 1)
    }
}

private struct Labelled: Named { let name: String }

@Suite struct SamplerTests {
    private func loader(_ count: Int, _ options: LoaderOptions) throws -> BatchLoader {
        let dataset = try patterned(count)
        return try BatchLoader(dataset, normalization: .identity(channels: 3), options: options)
    }

    @Test func builtInSamplersAreFoundByName() throws {
        #expect(Samplers.registry.all.map(\.name).prefix(2) == ["shuffle", "sequential"])
        let dataset = try patterned(9)
        for descriptor in [ShuffledSampler.descriptor, SequentialSampler.descriptor] {
            let found = try #require(Samplers.registry.find(descriptor.name))
            let sampler = try found.make(dataset, Options(OptionTable([], presets: [])))
            #expect(sampler.name == descriptor.name && !found.summary.isEmpty)
            let batches = try take(loader(9, LoaderOptions(batchSize: 9, seed: 3, sampler: sampler)), 3)
            for batch in batches { #expect(batch.indices.sorted() == (0..<9).map(Int64.init)) }
            #expect((batches[0].indices == batches[1].indices) == (descriptor.name == "sequential"))
        }
    }

    @Test func aRegistryGrowsButNamesAreTakenOnce() throws {
        let registry = Registry("thing", [Labelled(name: "a")])
        try registry.add(Labelled(name: "b"))
        #expect(registry.all.map(\.name) == ["a", "b"] && registry.find("b") != nil && registry.find("c") == nil)
        expectError(.argument, "there is a thing named a already") { try registry.add(Labelled(name: "a")) }
        expectError(.argument, "the name of a thing is empty") { try registry.add(Labelled(name: "")) }
        #expect(registry.all.count == 2)
    }

    @Test(arguments: [0, 2]) func theSamplerDecidesHowLongAnEpochIs(threads: Int) throws {
        let loader = try loader(5, LoaderOptions(batchSize: 4, sampler: RepeatingSampler(), dropLast: false, threads: threads, epochs: 2))
        #expect(loader.stepsPerEpoch == 4)
        let batches = try take(loader, 100)
        #expect(batches.map(\.indices.count) == [4, 4, 4, 3, 4, 4, 4, 3])
        #expect(batches.allSatisfy { batch in batch.indices.allSatisfy { $0 == Int64(batch.epoch) } })
        try loader.seek(epoch: 1, step: 3)
        #expect(try take(loader, 9).map(\.indices) == [[1, 1, 1]])
        expectError(.argument, "batch_size 16 is larger than repeating's epoch of 15 images") {
            _ = try self.loader(5, LoaderOptions(batchSize: 16, sampler: RepeatingSampler()))
        }
    }

    @Test(arguments: [0, 2]) func aFailureOfTheSamplerIsThatOfItsBatches(threads: Int) throws {
        let loader = try loader(3, LoaderOptions(batchSize: 2, sampler: FailingSampler(), threads: threads, epochs: 4))
        #expect(try take(loader, 2).count == 2)
        for _ in 0..<2 { expectError(.state, "no order today") { _ = try loader.next() } }
        for _ in 0..<2 {
            expectError(.argument, "sampler failing gives image 3 at place 0, outside 0 ..< 3") { _ = try loader.next() }
        }
        #expect(try take(loader, 9).map(\.epoch) == [3, 3])
    }
}
