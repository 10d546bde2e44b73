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
        guard let labels = dataset.labels, !order.isEmpty else { return }
        let count = dataset.count
        try Memory.check(dataset.classCount, bytesEach: 64, for: "the images of \(dataset.classCount) classes")
        var first = [Int](repeating: 0, count: dataset.classCount + 1)
        for label in labels { first[Int(label) + 1] += 1 }
        let present = (0..<dataset.classCount).filter { first[$0 + 1] > 0 }
        for label in 0..<dataset.classCount { first[label + 1] += first[label] }
        // The images of each class in random order, class by class.
        let memory = try Memory(bytes: 2 * count * 8, for: "the images of each class")
        let all = memory.typed(Int64.self)
        let (shuffled, byClass) = (UnsafeMutableBufferPointer(rebasing: all[..<count]), UnsafeMutableBufferPointer(rebasing: all[count...]))
        writeShuffled(shuffled, seed: seed, purpose: .shuffling, round: epoch)
        var next = first
        for image in shuffled {
            let label = Int(labels[Int(image)])
            byClass[next[label]] = image
            next[label] += 1
        }
        // The order of the places; classes take them in turn, each epoch beginning with another.
        writeShuffled(order, seed: seed, purpose: .balancing, round: epoch)
        var taken = [Int](repeating: 0, count: dataset.classCount)
        for place in order.indices {
            let label = present[(Int(order[place]) + epoch) % present.count]
            order[place] = byClass[first[label] + taken[label] % (first[label + 1] - first[label])]
            taken[label] += 1
        }
    }
}
