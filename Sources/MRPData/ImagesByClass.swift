import MRPEngine

extension ImageDataset {
    /// Images of each class; without labels all are one class.
    var classSizes: [Int] {
        guard let labels else { return [count] }
        var sizes = [Int](repeating: 0, count: classCount)
        for label in labels { sizes[Int(label)] += 1 }
        return sizes
    }
}

/// The images of each class of a dataset, in its order or in another one; without labels all images are one class.
public struct ImagesByClass {
    private let images: Memory
    /// The place of each class's first image, and the end of the last.
    private let starts: [Int]

    public var classes: Int { starts.count - 1 }

    /// `order`: all images, as those of a class are to follow each other; nil: as they lie. Errors: `.memory`.
    public init(_ dataset: any ImageDataset, in order: UnsafeBufferPointer<Int64>? = nil) throws {
        try Memory.check(max(1, dataset.classCount), bytesEach: 64, for: "the images of \(dataset.classCount) classes")
        images = try Memory(dataset.count, elementBytes: 8, for: "the images of each class")
        starts = dataset.classSizes.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
        var next = starts
        let (places, labels) = (images.typed(Int64.self), dataset.labels)
        for place in 0..<dataset.count {
            let image = order?[place] ?? Int64(place)
            let label = Int(labels?[Int(image)] ?? 0)
            places[next[label]] = image
            next[label] += 1
        }
    }

    /// Valid as long as this value.
    public subscript(label: Int) -> UnsafeBufferPointer<Int64> {
        UnsafeBufferPointer(rebasing: images.typed(Int64.self)[starts[label]..<starts[label + 1]])
    }
}
