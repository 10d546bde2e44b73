import MRPEngine

/// Each image once per epoch, in the dataset's order.
public struct SequentialSampler: Sampler {
    public static let descriptor = SamplerDescriptor(
        name: "sequential", summary: "each image once per epoch, in the dataset's order"
    ) { _, _ in SequentialSampler() }

    public var name: String { Self.descriptor.name }

    public init() {}

    public func examplesPerEpoch(of dataset: ImageDataset) -> Int { dataset.count }

    public func writeOrder(of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>) {
        for i in order.indices { order[i] = Int64(i) }
    }
}
