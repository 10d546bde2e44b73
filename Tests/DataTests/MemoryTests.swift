import CMRPKernels
import Glibc
import MRPData
import MRPEngine
import TestSupport
import Testing

/// Allocations still allowed; below zero every one fails. Only used in a process of the test's own.
nonisolated(unsafe) private let allowance = {
    let counter = UnsafeMutablePointer<Int64>.allocate(capacity: 1)
    counter.initialize(to: 0)
    return counter
}()

@Suite struct MemoryTests {
    /// Everything that datasets and loaders do, with the n-th allocation failing, for every n until it all succeeds: `.memory` each time.
    @Test(.timeLimit(.minutes(2)), arguments: [0, 2]) func everyFailedAllocationIsAnError(threads: Int) async {
        await #expect(processExitsWith: .success) { [threads] in
            let folder = try TemporaryFolder()
            for i in 0..<4 { try folder.write("c\(i % 2)/\(i).jpg", try Fixtures.bytes("colour.jpg")) }
            for i in 0..<2 { try folder.write("c\(i)/\(i).png", try Fixtures.bytes("rgb16.png")) }
            _ = allowance
            mk_set_allocator(
                { bytes, alignment, _ in
                    // Loader threads allocate too; which of them fails does not matter.
                    allowance.pointee -= 1
                    return allowance.pointee < 0 ? nil : aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)
                }, { memory, _, _ in free(memory) }, nil)
            var failures = 0
            for allowed in Int64(0)... {
                allowance.pointee = allowed
                do {
                    try MemoryTests.useEverything(folder.path, threads)
                    break
                } catch let error as MRPError where error.code == .memory {
                    failures += 1
                }
            }
            #expect(failures > 30 && failures < 200)
        }
    }

    private static func useEverything(_ path: String, _ threads: Int) throws {
        let generated = try SyntheticDataset(count: 12)
        let subset = try SubsetDataset.split(generated, count: 8, seed: 1).chosen
        let files = try ImageFolderDataset(path, cacheBytes: 1 << 20)
        let array = try ArrayDataset(
            pixels: [UInt8](repeating: 7, count: 8 * 75), type: .uint8, layout: .channelsFirst, count: 8, channels: 3,
            size: ImageSize(height: 5, width: 5), labels: [0, 1, 0, 1, 0, 1, 0, 1])
        let size = ImageSize(height: 8, width: 8)
        for dataset in [subset, files, array] as [ImageDataset] {
            let normalization = try Normalization.measured(on: dataset)
            let loader = try BatchLoader(
                dataset, augmentation: .randomResizedCropFlip(size: size), normalization: normalization ?? .identity(channels: 3),
                options: LoaderOptions(batchSize: 3, dropLast: false, threads: threads, epochs: 2))
            while case .batch = try loader.next() {}
        }
    }
}
