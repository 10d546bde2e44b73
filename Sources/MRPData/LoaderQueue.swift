import CMRPImage
import MRPEngine

/// One prepared batch in the queue. Its memory is allocated once; positions are written by whichever thread claims them.
final class LoaderSlot {
    let images: UnsafeMutableBufferPointer<Float>
    let labels: UnsafeMutableBufferPointer<Int32>
    let indices: UnsafeMutableBufferPointer<Int64>
    private let memory: (Memory, Memory, Memory)
    var bytes: Int { memory.0.bytes + memory.1.bytes + memory.2.bytes }
    var epoch = 0
    var step = 0
    var count = 0
    var claimed = 0
    var done = 0
    /// The error of the lowest position that failed, so that the report does not depend on the threads.
    var failure: (position: Int, error: Error)?

    init(batchSize: Int, valuesPerImage: Int) throws {
        let bytes = try checkedProduct([batchSize, valuesPerImage, 4], "a batch of \(batchSize)", code: .argument)
        memory = (
            try Memory(bytes: bytes, for: "a batch of \(batchSize) images"),
            try Memory(bytes: batchSize * 4, for: "\(batchSize) labels"),
            try Memory(bytes: batchSize * 8, for: "\(batchSize) indices")
        )
        images = memory.0.typed(Float.self)
        labels = memory.1.typed(Int32.self)
        indices = memory.2.typed(Int64.self)
    }
}

/// The bounded queue behind `BatchLoader`: batches numbered n = epoch * steps + step, of which `head ..< head + slots.count` are in work.
/// All variables are guarded by the monitor, but for the pixels of claimed positions.
final class LoaderQueue {
    private let dataset: ImageDataset
    private let augmentation: Augmentation
    private let options: LoaderOptions
    private let size: ImageSize
    private let channels: Int
    private let valuesPerImage: Int
    private let normalization: Memory
    let stepsPerEpoch: Int
    /// The number after the last batch.
    let end: Int

    private let monitor: OpaquePointer
    private let slots: [LoaderSlot]
    private let order: Memory
    private var orderEpoch = -1
    private(set) var head = 0
    private var opened = 0
    private var active = 0
    private var paused = false
    private var unreadableImages: [Int: String] = [:]
    private let stopping = UnsafeMutablePointer<Int32>.allocate(capacity: 1)

    /// Bytes of batches and of the order of images.
    var bytes: Int { slots.reduce(order.bytes) { $0 + $1.bytes } }

    /// Set in a forked child: the monitor may be held by a thread that does not exist there, so it is left alone.
    var abandoned = false

    init(
        dataset: ImageDataset, augmentation: Augmentation, statistics: ChannelStatistics, options: LoaderOptions, size: ImageSize
    ) throws {
        self.dataset = dataset
        self.augmentation = augmentation
        self.options = options
        self.size = size
        channels = dataset.channels
        let (full, rest) = dataset.count.quotientAndRemainder(dividingBy: options.batchSize)
        stepsPerEpoch = full + (rest > 0 && !options.dropLast ? 1 : 0)
        guard stepsPerEpoch > 0 else {
            throw MRPError(.argument, "batch_size \(options.batchSize) is larger than the dataset of \(dataset.count) images")
        }
        valuesPerImage = try checkedProduct([channels, size.height, size.width], "an image of \(channels) x \(size)", code: .argument)
        if let epochs = options.epochs {
            guard epochs >= 0, !epochs.multipliedReportingOverflow(by: stepsPerEpoch).overflow else {
                throw MRPError(.argument, "epochs \(epochs) is out of range")
            }
            end = epochs * stepsPerEpoch
        } else {
            end = Int.max
        }
        let (batchSize, values) = (min(options.batchSize, dataset.count), valuesPerImage)
        slots = try (0..<(options.threads == 0 ? 1 : options.queueDepth)).map { _ in
            try LoaderSlot(batchSize: batchSize, valuesPerImage: values)
        }
        order = try Memory(bytes: options.shuffle ? dataset.count * 8 : 0, for: "the order of \(dataset.count) images")
        // Rows of scale and shift per pixel type: x * scale + shift = (x / range - mean) / std.
        normalization = try Memory(bytes: PixelType.allCases.count * 2 * channels * 4, for: "statistics of \(channels) channels")
        let table = normalization.typed(Float.self)
        for type in PixelType.allCases {
            for c in 0..<channels {
                let row = Int(type.rawValue) * 2 * channels
                table[row + c] = Float(1 / (type.range * Double(statistics.std[c])))
                table[row + channels + c] = Float(-Double(statistics.mean[c]) / Double(statistics.std[c]))
            }
        }
        guard let monitor = mi_monitor_create() else { throw MRPError(.memory, "cannot allocate a lock") }
        self.monitor = monitor
        stopping.initialize(to: 0)
    }

    deinit {
        if !abandoned { mi_monitor_destroy(monitor) }
        stopping.deallocate()
    }

    // MARK: Consumer

    /// Puts the queue at batch `number`, after what is in work has finished.
    func seek(to number: Int) {
        mi_monitor_lock(monitor)
        paused = true
        while active > 0 { mi_monitor_wait(monitor) }
        head = number
        opened = number
        paused = false
        mi_monitor_unlock(monitor)
    }

    /// Gives up batch `head`, so that its memory is used for a later one.
    func advance() {
        mi_monitor_lock(monitor)
        head += 1
        mi_monitor_unlock(monitor)
    }

    /// Batch `head` when it is complete; nil when the flag became nonzero first. The calling thread helps while it waits.
    func waitForHead(_ workspace: ImageWorkspace, cancel: UnsafePointer<Int32>?) throws -> LoaderSlot? {
        mi_monitor_lock(monitor)
        defer { mi_monitor_unlock(monitor) }
        let before = opened
        while opened < min(end, head + slots.count) {
            open(slots[opened % slots.count], number: opened)
            opened += 1
        }
        if opened != before { mi_monitor_wake_all(monitor) }
        let slot = slots[head % slots.count]
        while slot.done < slot.count {
            if let cancel, mi_flag_load(cancel) != 0 { return nil }
            if slot.claimed < slot.count {
                // One image at a time, so that cancelling is quick.
                work(slot, claim(slot, atMost: 1), workspace)
            } else {
                mi_monitor_wait_for(monitor, 10)
            }
        }
        if let failure = slot.failure { throw failure.error }
        return slot
    }

    /// Tells the workers to leave; joining them is the owner's task.
    func stop() {
        mi_flag_store(stopping, 1)
        mi_monitor_lock(monitor)
        mi_monitor_wake_all(monitor)
        mi_monitor_unlock(monitor)
    }

    // MARK: Workers

    /// The life of a background thread.
    func serve() {
        let workspace = ImageWorkspace()
        mi_monitor_lock(monitor)
        while mi_flag_load(stopping) == 0 {
            if !paused, let slot = slotWithWork() {
                work(slot, claim(slot, atMost: 8), workspace)
            } else {
                mi_monitor_wait(monitor)
            }
        }
        mi_monitor_unlock(monitor)
    }

    private func slotWithWork() -> LoaderSlot? {
        var number = head
        while number < opened {
            let slot = slots[number % slots.count]
            if slot.claimed < slot.count { return slot }
            number += 1
        }
        return nil
    }

    private func claim(_ slot: LoaderSlot, atMost limit: Int) -> Range<Int> {
        let first = slot.claimed
        slot.claimed = min(slot.count, first + limit)
        return first..<slot.claimed
    }

    /// Prepares the claimed positions without holding the lock, which is held before and after.
    private func work(_ slot: LoaderSlot, _ positions: Range<Int>, _ workspace: ImageWorkspace) {
        active += 1
        mi_monitor_unlock(monitor)
        var failure: (position: Int, error: Error)?
        for position in positions where mi_flag_load(stopping) == 0 {
            do {
                try prepare(slot, position, workspace)
            } catch {
                if failure == nil { failure = (position, error) }
            }
        }
        mi_monitor_lock(monitor)
        active -= 1
        slot.done += positions.count
        if let failure, failure.position < slot.failure?.position ?? Int.max { slot.failure = failure }
        if slot.done == slot.count || active == 0 { mi_monitor_wake_all(monitor) }
    }

    /// What was wrong with images that were left out, by their numbers.
    var unreadable: [Int: String] {
        mi_monitor_lock(monitor)
        defer { mi_monitor_unlock(monitor) }
        return unreadableImages
    }

    /// Loads image `wanted`, or where it is allowed the next one that can be read; returns its number. The lock is not held.
    private func load(_ wanted: Int, _ workspace: ImageWorkspace) throws -> Int {
        var index = wanted
        while true {
            do {
                try dataset.load(index, into: workspace)
                return index
            } catch let error as MRPError where options.skipsUnreadable && Self.isUnreadable(error) {
                mi_monitor_lock(monitor)
                unreadableImages[index] = error.message
                mi_monitor_unlock(monitor)
                index = (index + 1) % dataset.count
                if index == wanted { throw error }
            }
        }
    }

    static func isUnreadable(_ error: MRPError) -> Bool { error.code == .io || error.code == .format || error.code == .unsupported }

    private func prepare(_ slot: LoaderSlot, _ position: Int, _ workspace: ImageWorkspace) throws {
        guard let target = slot.images.baseAddress.map({ $0 + position * valuesPerImage }) else { return }
        let index = try load(Int(slot.indices[position]), workspace)
        slot.indices[position] = Int64(index)
        try augmentation.apply(workspace, seed: options.seed, epoch: slot.epoch, sample: index)
        var image = workspace.image
        guard image.size == size, image.channels == Int64(channels) else {
            throw MRPError(
                .argument, "\(dataset.name(of: index)) is \(image.channels) x \(image.size) after augmentation, not \(channels) x \(size)")
        }
        let row = normalization.typed(Float.self).baseAddress.map { $0 + Int(image.type) * 2 * channels }
        mi_normalize(&image, row, row.map { $0 + channels }, target)
        augmentation.finish(target, channels: channels, size: size, seed: options.seed, epoch: slot.epoch, sample: index)
        slot.labels[position] = dataset.labels?[index] ?? -1
    }

    private func open(_ slot: LoaderSlot, number: Int) {
        let (epoch, step) = number.quotientAndRemainder(dividingBy: stepsPerEpoch)
        let order = order.typed(Int64.self)
        if options.shuffle, orderEpoch != epoch {
            MRPData.shuffle(order, seed: options.seed, purpose: .shuffling, round: epoch)
            orderEpoch = epoch
        }
        let first = step * options.batchSize
        slot.epoch = epoch
        slot.step = step
        slot.count = min(options.batchSize, dataset.count - first)
        for i in 0..<slot.count { slot.indices[i] = options.shuffle ? order[first + i] : Int64(first + i) }
        slot.claimed = 0
        slot.done = 0
        slot.failure = nil
    }
}
