import MRPEngine

/// Each image once per epoch, in a new random order each time.
public struct ShuffledSampler: Sampler {
    public static let descriptor = SamplerDescriptor(
        name: "shuffle", summary: "each image once per epoch, in a new random order each time"
    ) { _, _ in ShuffledSampler() }

    public var name: String { Self.descriptor.name }

    public init() {}

    public func examplesPerEpoch(of dataset: ImageDataset) -> Int { dataset.count }

    public func writeOrder(of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>) {
        writeShuffled(order, seed: seed, purpose: .shuffling, round: epoch)
    }
}
