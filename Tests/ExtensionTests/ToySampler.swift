import MRPData

/// The images backwards.
struct BackwardSampler: Sampler {
    static let descriptor = SamplerDescriptor(name: "backward", summary: "the images backwards") { _, _ in BackwardSampler() }

    var name: String { Self.descriptor.name }

    func examplesPerEpoch(of dataset: ImageDataset) -> Int { dataset.count }

    func writeOrder(of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>) {
        for place in order.indices { order[place] = Int64(dataset.count - 1 - place) }
    }
}
