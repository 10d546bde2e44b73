import MRPEngine

/// As many images of each class as of any other, in a new random order each epoch: an epoch has as many examples as the dataset images. A class
/// with more images than its part shows as many of them, new ones each epoch; one with fewer shows each of them about equally often (Kang et
/// al. 2020).
public struct ClassBalancedSampler: Sampler {
    public static let descriptor = SamplerDescriptor(
        name: "class_balanced", summary: "as many examples of each class, images of small classes several times",
        source: "Kang et al. 2020"
    ) { dataset, _ in
        guard dataset.labels != nil else { throw MRPError(.argument, "sampler class_balanced needs labels, the dataset has none") }
        return ClassBalancedSampler()
    }

    public var name: String { Self.descriptor.name }
    public var removedPrior: Double { 1 }

    public init() {}

    public func examplesPerEpoch(of dataset: ImageDataset) -> Int { dataset.count }

    public func writeOrder(
        of dataset: ImageDataset, seed: UInt64, epoch: Int, into order: UnsafeMutableBufferPointer<Int64>
    ) throws {
        guard dataset.labels != nil, !order.isEmpty else { return }
        let memory = try Memory(dataset.count, elementBytes: 8, for: "the order of \(dataset.count) images")
        let shuffled = memory.typed(Int64.self)
        writeShuffled(shuffled, seed: seed, purpose: .shuffling, round: epoch)
        let groups = try ImagesByClass(dataset, in: UnsafeBufferPointer(shuffled))
        let present = (0..<groups.classes).filter { !groups[$0].isEmpty }
        // The order of the places; classes take them in turn, each epoch beginning with another.
        writeShuffled(order, seed: seed, purpose: .balancing, round: epoch)
        var taken = [Int](repeating: 0, count: groups.classes)
        for place in order.indices {
            let label = present[(Int(order[place]) + epoch) % present.count]
            order[place] = groups[label][taken[label] % groups[label].count]
            taken[label] += 1
        }
        withExtendedLifetime((memory, groups)) {}
    }
}
