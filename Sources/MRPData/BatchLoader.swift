import CMRPImage
import Glibc
import MRPEngine

/// Batches of a dataset, decoded and augmented on background threads ahead of time. Order and content depend on the seed alone, not on
/// threads, timing or where reading began: the loader can start at any (epoch, step). Used by one thread at a time.
///
/// Its threads share the queue, whose variables are guarded by a monitor; each has its own workspace.
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
    /// The place of the next batch.
    public var position: (epoch: Int, step: Int) {
        (upcoming / stepsPerEpoch, upcoming % stepsPerEpoch)
    }

    /// The images that could not be read so far, by their numbers: their errors, with their names.
    public var unreadable: [Int: String] { queue.unreadable }

    private let queue: LoaderQueue
    private let workspace = ImageWorkspace()
    private var threads: [OpaquePointer] = []
    private var owner: pid_t = 0
    private var holding = false
    private var upcoming: Int { queue.head + (holding ? 1 : 0) }

    /// Threads start at the first `next`. There is one augmentation for all views of a sample, or one for each. Errors: `.argument` when
    /// an option is out of range or the augmentations do not turn the dataset's images into one size; `.memory`.
    public init(
        _ dataset: ImageDataset, augmentations: [Augmentation], normalization: Normalization, options: LoaderOptions
    ) throws {
        try options.check()
        try normalization.check(channels: dataset.channels)
        guard augmentations.count == 1 || augmentations.count == options.views else {
            throw MRPError(.argument, "\(augmentations.count) augmentations were given for \(options.views) views: one, or one for each")
        }
        let sizes = try augmentations.map { augmentation in
            guard let size = try augmentation.outputSize(for: dataset.imageSize, channels: dataset.channels) else {
                throw MRPError(.argument, "the images differ in size: add a resize or a random resized crop")
            }
            return size
        }
        imageSize = sizes[0]
        if let view = sizes.firstIndex(where: { $0 != sizes[0] }) {
            throw MRPError(.argument, "view \(view) is \(sizes[view]) after augmentation, view 0 is \(sizes[0])")
        }
        channels = dataset.channels
        self.options = options
        queue = try LoaderQueue(SamplePreparation(dataset, augmentations, normalization, options, size: imageSize), options)
    }

    /// A loader with one augmentation for all views.
    public convenience init(
        _ dataset: ImageDataset, augmentation: Augmentation = .none, normalization: Normalization, options: LoaderOptions
    ) throws {
        try self.init(dataset, augmentations: [augmentation], normalization: normalization, options: options)
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
    /// Errors: the failure of an image of this batch (`.io`, `.format`, ..., with its name) or of the sampler, after which the next call goes
    /// on with the next batch; `.forked` in a child of the process that started the threads.
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
                Batch(
                    epoch: slot.epoch, step: slot.step, slice: slot.slice, views: options.views, images: images, labels: labels,
                    indices: indices, targets: slot.targets.isEmpty ? nil : slot.targets.baseAddress))
        } catch {
            holding = true
            throw error
        }
    }

    /// Errors: `.forked` in a child of the process that started the threads.
    public func checkProcess() throws {
        if !threads.isEmpty, owner != getpid() {
            throw MRPError(.forked, "this loader's threads belong to process \(owner): make a new loader in process \(getpid())")
        }
    }

    /// Without any thread to be had, the caller does the work.
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
