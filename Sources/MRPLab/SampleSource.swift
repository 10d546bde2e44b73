import CMRPKernels
import MRPEngine

/// The samples of one phase: in memory when they fit, otherwise generated in blocks whenever they are needed, so that memory stays
/// bounded. Both give the same numbers.
final class SampleSource {
    /// A part of the samples, ready for the kernels; pointers hold until the next block.
    struct Block {
        let batch: mk_patch_batch
        let labels: UnsafePointer<Int32>
        let first: Int
        let count: Int
    }

    let count: Int
    /// Samples per block.
    let blockCount: Int
    let bytes: Int
    let labels: UnsafeMutableBufferPointer<Int32>
    /// The view that a single-view sample shows (-1 for multi-view), the subclass, or the patch that tells the class.
    let shown: UnsafeMutableBufferPointer<Int32>
    /// The labels that training reads: the classes, until `relabel`.
    private(set) var targets: UnsafeMutableBufferPointer<Int32>

    private let compute: LabCompute
    private let distribution: PatchDistribution
    private var description: mk_patch_data
    private let isResident: Bool
    private let x, labelMemory, shownMemory, batchLabels: Memory
    private var targetMemory: Memory?

    init(
        _ distribution: PatchDistribution, _ kind: PatchDistribution.Kind, _ stream: LabStream, count: Int,
        batch: Int = 0, compute: LabCompute
    ) throws {
        let options = distribution.options
        self.compute = compute
        self.distribution = distribution
        self.count = count
        description = distribution.description(kind, stream)
        let each = try checkedProduct([options.patches, options.dimension], bytesEach: 8) * compute.elementBytes
        isResident = count <= options.dataBytes / each
        let block = max(1, min(count, options.dataBytes / each))
        guard isResident || batch <= block else {
            throw MRPError(.argument, "data_bytes \(options.dataBytes) does not hold a batch of \(batch) samples of \(each) bytes")
        }
        blockCount = block
        x = try Memory(block, elementBytes: each, for: "\(block) samples")
        labelMemory = try Memory(count, elementBytes: 4, for: "labels")
        shownMemory = try Memory(count, elementBytes: 4, for: "shown views")
        batchLabels = try Memory(max(batch, 1), elementBytes: 4, for: "labels")
        labels = labelMemory.typed(Int32.self)
        shown = shownMemory.typed(Int32.self)
        targets = labels
        bytes = x.bytes + labelMemory.bytes + shownMemory.bytes + batchLabels.bytes
        try compute.reserve(mk_patch_data_scratch(&description))
        mk_patch_data_generate(
            compute.pool, Int32(compute.elementBytes), &description, 0, nil, Int64(count), isResident ? x.base : nil,
            labels.baseAddress, nil, shown.baseAddress, nil)
        try compute.check()
    }

    /// Other labels for training: those of `label`, which gets a sample's number.
    func relabel(_ label: (Int) -> Int) throws {
        let memory = try targetMemory ?? Memory(count, elementBytes: 4, for: "labels")
        targetMemory = memory
        targets = memory.typed(Int32.self)
        for n in 0..<count { targets[n] = Int32(truncatingIfNeeded: label(n)) }
    }

    private func generate(first: Int, ids: UnsafePointer<Int32>?, count: Int) throws {
        mk_patch_data_generate(
            compute.pool, Int32(compute.elementBytes), &description, Int64(first), ids, Int64(count), x.base, nil, nil, nil, nil)
        try compute.check()
    }

    /// All samples, in order, block by block.
    func forEachBlock(_ body: (Block) throws -> Void) throws {
        for first in stride(from: 0, to: count, by: blockCount) {
            let now = min(blockCount, count - first)
            if !isResident { try generate(first: first, ids: nil, count: now) }
            let batch = mk_patch_batch(samples: Int64(now), x: UnsafeRawPointer(x.base), rows: nil, ids: nil, first_id: Int64(first))
            guard let start = targets.baseAddress else { return }
            try body(Block(batch: batch, labels: start + first, first: first, count: now))
        }
    }

    /// The samples that `ids` names, at most the batch that was announced.
    func batch(_ ids: UnsafeBufferPointer<Int32>) throws -> Block {
        let own = batchLabels.typed(Int32.self)
        for (entry, id) in ids.enumerated() where entry < own.count { own[entry] = targets[Int(id)] }
        if !isResident { try generate(first: 0, ids: ids.baseAddress, count: ids.count) }
        let batch = mk_patch_batch(
            samples: Int64(ids.count), x: UnsafeRawPointer(x.base), rows: isResident ? ids.baseAddress : nil, ids: ids.baseAddress,
            first_id: 0)
        guard let start = own.baseAddress else { throw MRPError(.internalError, "a batch without labels") }
        return Block(batch: batch, labels: start, first: 0, count: ids.count)
    }
}

/// The order in which stochastic gradient descent visits samples: a new permutation (Fisher-Yates) in every epoch.
final class BatchOrder {
    private let ids: Memory
    private let count, size, stream: Int
    private let seed: UInt64
    private var position: Int
    private var epoch: UInt32 = 0

    init(count: Int, size: Int, seed: Int, stream: LabStream) throws {
        ids = try Memory(count, elementBytes: 4, for: "the order of the samples")
        self.count = count
        self.size = size
        self.seed = UInt64(seed)
        self.stream = Int(stream.value)
        position = count
        for (index, _) in ids.typed(Int32.self).enumerated() { ids.typed(Int32.self)[index] = Int32(index) }
    }

    /// The next batch; what is left of an epoch and too small for one is dropped.
    func next() -> UnsafeBufferPointer<Int32> {
        let order = ids.typed(Int32.self)
        if position + size > count {
            var words = (UInt32(0), UInt32(0), UInt32(0), UInt32(0))
            for index in stride(from: count - 1, to: 0, by: -1) {
                withUnsafeMutableBytes(of: &words) { bytes in
                    mk_philox(seed, UInt32(stream), epoch, UInt64(index), bytes.bindMemory(to: UInt32.self).baseAddress)
                }
                order.swapAt(index, Int((UInt64(words.0) * UInt64(index + 1)) >> 32))
            }
            epoch &+= 1
            position = 0
        }
        defer { position += size }
        return UnsafeBufferPointer(rebasing: order[position..<position + size])
    }
}
