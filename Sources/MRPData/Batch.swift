import MRPEngine

/// The making of batches.
public struct LoaderOptions: Sendable {
    /// The part of each global batch that this loader prepares. Its images, augmented, are those that a loader of the whole batch has at
    /// these places. An epoch's last batch may be short: it is cut at the same places, so that late slices get fewer images, or none.
    public var slice: BatchSlice
    /// Fixes the order of the images and their augmentation.
    public var seed: UInt64
    /// The order of the examples of each epoch.
    public var sampler: any Sampler
    /// Leaves out the examples that do not fill a global batch; otherwise the last batch is smaller.
    public var dropLast: Bool
    /// Background threads; 0 prepares each batch in `next`. The batches are the same for every number.
    public var threads: Int
    /// Batches in memory, the one that the caller holds included.
    public var queueDepth: Int
    /// Images of each sample, every one augmented with random numbers of its own; those of view 0 do not depend on the number.
    public var views = 1
    /// True when the pixel masks of a dataset that has some come with the images.
    public var targets = true
    /// Replaces an image that cannot be read or decoded by the next one in the dataset, and notes it.
    public var skipsUnreadable = false
    /// Epochs after which `next` answers `.end`; nil goes on for ever.
    public var epochs: Int?

    /// Images of a global batch.
    public var batchSize: Int { slice.total }

    public init(
        batchSize: Int, seed: UInt64 = 0, sampler: any Sampler = ShuffledSampler(), dropLast: Bool = true, threads: Int = 1,
        queueDepth: Int = 3, epochs: Int? = nil
    ) {
        slice = BatchSlice(whole: batchSize)
        self.seed = seed
        self.sampler = sampler
        self.dropLast = dropLast
        self.threads = threads
        self.queueDepth = queueDepth
        self.epochs = epochs
    }

    /// Every image once, in order.
    public static func evaluation(batchSize: Int, threads: Int = 1) -> LoaderOptions {
        LoaderOptions(batchSize: batchSize, sampler: SequentialSampler(), dropLast: false, threads: threads, epochs: 1)
    }

    /// Errors: `.argument` when a number is out of range.
    func check() throws {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
            guard range.contains(value) else {
                throw MRPError(.argument, "\(name) \(value) is outside \(range.lowerBound) ... \(range.upperBound)")
            }
        }
        try check("batch_size", batchSize, 1...(1 << 24))
        try check("slice of a batch", slice.count, 1...batchSize)
        try check("loader_threads", threads, 0...256)
        try check("queue_depth", queueDepth, 2...64)
        try check("views", views, 1...256)
    }
}

/// Images ready for a network. The memory is the loader's and stays valid until its next `next`, `seek` or end.
public struct Batch {
    public let epoch: Int
    public let step: Int
    /// The places of the global batch that are here.
    public let slice: BatchSlice
    /// Images of each sample.
    public let views: Int
    /// count x views x channels x height x width, normalised; the views of a sample follow each other.
    public let images: UnsafeMutablePointer<Float>
    /// count labels; -1 when the dataset has none.
    public let labels: UnsafeMutablePointer<Int32>
    /// count numbers of the images in the dataset.
    public let indices: UnsafeMutablePointer<Int64>
    /// count x views x height x width ids of pixels, moved as their images; nil when the dataset has none.
    public let targets: UnsafeMutablePointer<Int32>?

    /// Samples.
    public var count: Int { slice.count }
}
