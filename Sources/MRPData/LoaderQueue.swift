import CMRPImage
import MRPEngine

/// The bounded queue behind `BatchLoader`: batches numbered n = epoch * steps + step, of which `head ..< head + slots.count` are in work.
/// All variables are guarded by the monitor, but for the pixels of claimed positions.
final class LoaderQueue {
    private let samples: SamplePreparation
    private let order: EpochOrder
    private let skipsUnreadable: Bool
    /// The number after the last batch.
    let end: Int
    var stepsPerEpoch: Int { order.stepsPerEpoch }

    private let monitor: OpaquePointer
    private let slots: [LoaderSlot]
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

    init(_ samples: SamplePreparation, _ options: LoaderOptions) throws {
        self.samples = samples
        skipsUnreadable = options.skipsUnreadable
        let order = try EpochOrder(samples.dataset, options)
        if let epochs = options.epochs {
            guard epochs >= 0, !epochs.multipliedReportingOverflow(by: order.stepsPerEpoch).overflow else {
                throw MRPError(.argument, "epochs \(epochs) is out of range")
            }
            end = epochs * order.stepsPerEpoch
        } else {
            end = Int.max
        }
        slots = try (0..<(options.threads == 0 ? 1 : options.queueDepth)).map { _ in
            try LoaderSlot(
                capacity: order.capacity, valuesPerSample: options.views * samples.valuesPerView,
                idsPerSample: options.views * samples.idsPerView)
        }
        self.order = order
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
            let (epoch, step) = opened.quotientAndRemainder(dividingBy: stepsPerEpoch)
            order.begin(slots[opened % slots.count], epoch: epoch, step: step)
            opened += 1
        }
        if opened != before { mi_monitor_wake_all(monitor) }
        let slot = slots[head % slots.count]
        while slot.done < slot.count {
            if let cancel, mi_flag_load(cancel) != 0 { return nil }
            if Interruption.isWanted { return nil }
            if slot.hasWork {
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
        // An image that is being decoded when the loader ends is given up.
        Interruption.allowed(UnsafePointer(stopping)) {
            while mi_flag_load(stopping) == 0 {
                if !paused, let slot = slotWithWork() {
                    work(slot, claim(slot, atMost: 8), workspace)
                } else {
                    mi_monitor_wait(monitor)
                }
            }
        }
        mi_monitor_unlock(monitor)
    }

    private func slotWithWork() -> LoaderSlot? {
        var number = head
        while number < opened {
            let slot = slots[number % slots.count]
            if slot.hasWork { return slot }
            number += 1
        }
        return nil
    }

    private func claim(_ slot: LoaderSlot, atMost limit: Int) -> Range<Int> {
        if let returned = slot.returned.popLast() { return returned..<returned + 1 }
        let first = slot.claimed
        slot.claimed = min(slot.count, first + limit)
        return first..<slot.claimed
    }

    /// Prepares the claimed positions without holding the lock, which is held before and after.
    private func work(_ slot: LoaderSlot, _ positions: Range<Int>, _ workspace: ImageWorkspace) {
        active += 1
        mi_monitor_unlock(monitor)
        var failure: (position: Int, error: Error)?
        var returned: [Int] = []
        for position in positions where mi_flag_load(stopping) == 0 {
            do {
                let index = try load(Int(slot.indices[position]), workspace)
                try samples.prepare(slot, position, index: index, workspace)
                workspace.finish()
            } catch is Cancelled {
                returned.append(position)
            } catch {
                if failure == nil { failure = (position, error) }
            }
        }
        workspace.finish()
        mi_monitor_lock(monitor)
        active -= 1
        slot.done += positions.count - returned.count
        slot.returned += returned
        if let failure, failure.position < slot.failure?.position ?? Int.max { slot.failure = failure }
        if slot.done == slot.count || active == 0 || !returned.isEmpty { mi_monitor_wake_all(monitor) }
    }

    /// The errors of images that were left out, by their numbers.
    var unreadable: [Int: String] {
        mi_monitor_lock(monitor)
        defer { mi_monitor_unlock(monitor) }
        return unreadableImages
    }

    /// Loads image `wanted`, or if that is allowed the next one that can be read; returns its number. The lock is not held.
    private func load(_ wanted: Int, _ workspace: ImageWorkspace) throws -> Int {
        var index = wanted
        while true {
            do {
                try samples.load(index, workspace)
                return index
            } catch let error as MRPError where skipsUnreadable && error.isUnreadableImage {
                mi_monitor_lock(monitor)
                unreadableImages[index] = error.message
                mi_monitor_unlock(monitor)
                index = (index + 1) % samples.dataset.count
                if index == wanted { throw error }
            }
        }
    }
}

extension MRPError {
    /// An image that is missing, broken or of a kind that cannot be decoded, which `skipsUnreadable` leaves out.
    public var isUnreadableImage: Bool { code == .io || code == .format || code == .unsupported }
}
