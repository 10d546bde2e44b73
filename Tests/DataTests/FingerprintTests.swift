import MRPData
import MRPEngine
import Testing

/// Batches of the loader are a function of the seed that never changes between versions.
@Suite struct FingerprintTests {
    /// FNV-1a over labels, indices and the bits of all values.
    private func fingerprint(_ batches: [BatchCopy]) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ bits: UInt32) { hash = (hash ^ UInt64(bits)) &* 0x100_0000_01b3 }
        for batch in batches {
            for label in batch.labels { add(UInt32(bitPattern: label)) }
            for index in batch.indices { add(UInt32(truncatingIfNeeded: index)) }
            for value in batch.images { add(value.bitPattern) }
        }
        return hash
    }

    private func fingerprint(_ augmentation: Augmentation) throws -> String {
        let dataset = try patterned(37, height: 20, width: 24)
        let loader = try BatchLoader(
            dataset, augmentation: augmentation,
            normalization: Normalization(mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225]),
            options: LoaderOptions(batchSize: 8, seed: 11, threads: 2))
        return String(fingerprint(try take(loader, 9)), radix: 16)
    }

    @Test func batchesAreThoseOfTheFirstVersion() throws {
        let size = ImageSize(height: 16, width: 12)
        let timm: [any AugmentationStep] = [
            PadCrop(padding: 2), HorizontalFlip(), try RandAugment("m9-mstd0.5-inc1"), ColorJitter(strength: 0.4, hue: 0.1),
        ]
        #expect(try fingerprint(.none) == "807de3825dd34687")
        #expect(try fingerprint(.padCropFlip(padding: 3)) == "62cf240de5e5dd3a")
        #expect(try fingerprint(.randomResizedCropFlip(size: size)) == "8df078df770e1486")
        #expect(try fingerprint(.centerCrop(size: size)) == "832eb643bc3d5c44")
        #expect(try fingerprint(Augmentation([Resize(size: size, .nearest), HorizontalFlip()])) == "58e277a6f97c73a9")
        #expect(try fingerprint(Augmentation(timm)) == "80b9fb6656d4b518")
        #expect(try fingerprint(Augmentation(finishing: [RandomErasing(probability: 0.7)])) == "d63c96eea830f3b7")
        #expect(try fingerprint(Augmentation(finishing: [RandomErasing(probability: 0.7, mode: .const)])) == "6ec10c3e86979e92")
    }
}
