import CMRPImage
import Glibc
import MRPEngine

/// How batches are made.
public struct LoaderOptions: Sendable {
    public var batchSize: Int
    /// Fixes the order of the images and their augmentation.
    public var seed: UInt64
    /// A new order in each epoch; otherwise the dataset's own.
    public var shuffle: Bool
    /// Leaves out the images that do not fill a batch (others each epoch when shuffled); otherwise the last batch is smaller.
    public var dropLast: Bool
    /// Background threads; 0 prepares each batch in `next`. The batches are the same for every number.
    public var threads: Int
    /// Batches in memory, the one that the caller holds included.
    public var queueDepth: Int
    /// Whether an image that cannot be read or decoded is replaced by the next one in the dataset, and noted.
    public var skipsUnreadable = false
    /// Epochs after which `next` answers `.end`; nil goes on for ever.
    public var epochs: Int?

    public init(
        batchSize: Int, seed: UInt64 = 0, shuffle: Bool = true, dropLast: Bool = true, threads: Int = 1, queueDepth: Int = 3,
        epochs: Int? = nil
    ) {
        self.batchSize = batchSize
        self.seed = seed
        self.shuffle = shuffle
        self.dropLast = dropLast
        self.threads = threads
        self.queueDepth = queueDepth
        self.epochs = epochs
    }

    /// Every image once, in order.
    public static func evaluation(batchSize: Int, threads: Int = 1) -> LoaderOptions {
        LoaderOptions(batchSize: batchSize, shuffle: false, dropLast: false, threads: threads, epochs: 1)
    }
}

/// Images ready for a network. The memory is the loader's and stays valid until its next `next`, `seek` or end.
public struct Batch {
    public let epoch: Int
    public let step: Int
    public let count: Int
    /// count x channels x height x width, normalised.
    public let images: UnsafeMutablePointer<Float>
    /// count labels; -1 when the dataset has none.
    public let labels: UnsafeMutablePointer<Int32>
    /// count numbers of the images in the dataset.
    public let indices: UnsafeMutablePointer<Int64>
}

/// Batches of a dataset, decoded and augmented on background threads ahead of time. Order and content depend on the seed alone, not on
/// threads, timing or where reading began: the loader can start at any (epoch, step). Used by one thread at a time.
public final class BatchLoader {
    public enum Next {
        case batch(Batch)
        /// All epochs are through.
        case end
        /// The flag became nonzero; the same batch comes at the next call.
        case cancelled
    }

    public let imageSize: ImageSize
    public let channels: Int
    public let options: LoaderOptions
    public var stepsPerEpoch: Int { queue.stepsPerEpoch }
    /// Memory that the loader holds for batches and the order of images; decoding takes what its largest image needs, per thread.
    public var bytes: Int { queue.bytes }
    /// Where the next batch lies.
    public var position: (epoch: Int, step: Int) {
        (upcoming / stepsPerEpoch, upcoming % stepsPerEpoch)
    }

    /// The images that could not be read so far, by their numbers: what was wrong, with their names.
    public var unreadable: [Int: String] { queue.unreadable }

    private let queue: LoaderQueue
    private let workspace = ImageWorkspace()
    private var threads: [OpaquePointer] = []
    private var owner: pid_t = 0
    private var holding = false
    private var upcoming: Int { queue.head + (holding ? 1 : 0) }

    /// Threads start at the first `next`. Errors: `.argument` when an option is out of range or the augmentation does not turn the
    /// dataset's images into one size; `.memory`.
    public init(
        _ dataset: ImageDataset, augmentation: Augmentation = .none, statistics: ChannelStatistics, options: LoaderOptions
    ) throws {
        func check(_ name: String, _ value: Int, _ range: ClosedRange<Int>) throws {
            guard range.contains(value) else {
                throw MRPError(.argument, "\(name) \(value) is outside \(range.lowerBound) ... \(range.upperBound)")
            }
        }
        try check("batch_size", options.batchSize, 1...(1 << 24))
        try check("loader_threads", options.threads, 0...256)
        try check("queue_depth", options.queueDepth, 2...64)
        guard statistics.mean.count == dataset.channels else {
            throw MRPError(.argument, "statistics have \(statistics.mean.count) channels, the images \(dataset.channels)")
        }
        guard let size = try augmentation.outputSize(for: dataset.imageSize, channels: dataset.channels) else {
            throw MRPError(.argument, "the images differ in size: add a resize or a random resized crop")
        }
        imageSize = size
        channels = dataset.channels
        self.options = options
        queue = try LoaderQueue(dataset: dataset, augmentation: augmentation, statistics: statistics, options: options, size: size)
    }

    deinit {
        guard !threads.isEmpty else { return }
        if owner == getpid() {
            queue.stop()
            for thread in threads { mi_thread_join(thread) }
        } else {
            queue.abandoned = true
            for thread in threads { mi_thread_forget(thread) }
        }
    }

    /// Goes to (epoch, step): the next batch is that one. Errors: `.argument` when there is no such step, `.forked`.
    public func seek(epoch: Int, step: Int) throws {
        try checkProcess()
        guard epoch >= 0, step >= 0, step < stepsPerEpoch, epoch < 1 << 32 else {
            throw MRPError(.argument, "there is no step \(step) in epoch \(epoch): an epoch has \(stepsPerEpoch) steps")
        }
        holding = false
        queue.seek(to: epoch * stepsPerEpoch + step)
    }

    /// The next batch, as soon as it is ready. `cancel` is polled at least every 10 ms and between images.
    ///
    /// Errors: what went wrong with an image of this batch (`.io`, `.format`, ..., with its name), after which the next call goes on with
    /// the next batch; `.forked` in a child of the process that started the threads.
    public func next(cancel: UnsafePointer<Int32>? = nil) throws -> Next {
        try checkProcess()
        if holding {
            holding = false
            queue.advance()
        }
        guard queue.head < queue.end else { return .end }
        try startThreads()
        do {
            guard let slot = try queue.waitForHead(workspace, cancel: cancel) else { return .cancelled }
            holding = true
            guard let images = slot.images.baseAddress, let labels = slot.labels.baseAddress, let indices = slot.indices.baseAddress else {
                throw MRPError(.internalError, "an empty batch")
            }
            return .batch(
                Batch(epoch: slot.epoch, step: slot.step, count: slot.count, images: images, labels: labels, indices: indices))
        } catch {
            holding = true
            throw error
        }
    }

    private func checkProcess() throws {
        if !threads.isEmpty, owner != getpid() {
            throw MRPError(.forked, "this loader's threads belong to process \(owner): make a new loader in process \(getpid())")
        }
    }

    /// When no thread can be had, the caller does the work.
    private func startThreads() throws {
        guard threads.isEmpty else { return }
        owner = getpid()
        for i in 0..<options.threads {
            var thread: OpaquePointer?
            let context = Unmanaged.passRetained(queue)
            let status = mi_thread_start(
                &thread, "mrp-loader-\(i)",
                { context in
                    guard let context else { return }
                    Unmanaged<LoaderQueue>.fromOpaque(context).takeRetainedValue().serve()
                }, context.toOpaque())
            guard status == 0, let thread else {
                context.release()
                return
            }
            threads.append(thread)
        }
    }
}
