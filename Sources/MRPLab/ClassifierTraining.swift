import CMRPKernels
import MRPEngine

/// Cross entropy on F_i = sum_r u_{i,r} h_r(X) with gradient descent on encoder, head or both: fine-tuning (a free head from 0 on a
/// pretrained encoder), supervised learning (random encoder, fixed block head or free head) and the frozen-encoder probe.
final class ClassifierTraining {
    struct Rates {
        /// 0: the head is fixed.
        var head: Double
        /// 0: the encoder is frozen.
        var encoder: Double
    }

    let network: PatchNetwork
    let head: LinearHead
    private(set) var loss = Double.nan
    /// Share of the step's samples whose largest logit is the label's.
    private(set) var accuracy = Double.nan
    private(set) var step = 0
    private(set) var divergedAt: Int?
    /// Consecutive steps in which all watched samples, or the share that was asked for, were right.
    private(set) var goodSteps = 0
    var samplesPerStep: Int { order == nil ? source.count : batchSize }
    /// Steps in which every sample is seen.
    var stepsPerEpoch: Int { (source.count + samplesPerStep - 1) / samplesPerStep }

    private let source: SampleSource
    private let rates: Rates
    private let batchSize: Int
    private let order: BatchOrder?
    private let weightGradient, headGradient: Memory
    private var watch: Watch?

    /// Samples whose share of right ones tells when training is done.
    private struct Watch {
        let includes: (Int) -> Bool
        let share: Double
        let logits: Memory
        var right = 0
        var all = 0
    }

    var bytes: Int { weightGradient.bytes + headGradient.bytes + network.weights.bytes + head.weights.bytes }

    init(
        _ network: PatchNetwork, _ head: LinearHead, _ source: SampleSource, rates: Rates, batch: Int, seed: Int
    ) throws {
        self.network = network
        self.head = head
        self.source = source
        self.rates = rates
        batchSize = batch
        let bytes = network.compute.elementBytes
        weightGradient = try Memory(network.weightCount, elementBytes: bytes, for: "gradients")
        headGradient = try Memory(head.classes * network.kernels, elementBytes: bytes, for: "gradients")
        order = batch > 0 ? try BatchOrder(count: source.count, size: batch, seed: seed, stream: .trainOrder) : nil
        try network.compute.reserve(network.shape, samples: batch > 0 ? batch : source.blockCount, classes: head.classes)
    }

    /// Counts `goodSteps`: those in which at least this share of the samples that `includes` names is right.
    func watch(share: Double, _ includes: @escaping (Int) -> Bool) throws {
        let perCall = order == nil ? source.blockCount : batchSize
        let logits = try Memory(
            checkedProduct([perCall, head.classes]), elementBytes: network.compute.elementBytes, for: "logits")
        watch = Watch(includes: includes, share: share, logits: logits)
    }

    /// One step of gradient descent. Does nothing after divergence.
    func advance() throws {
        guard divergedAt == nil else { return }
        let samples = samplesPerStep
        watch?.right = 0
        watch?.all = 0
        var sum = 0.0
        var correct: Int64 = 0
        if let order {
            try evaluate(try source.batch(order.next()), samples: samples, isFirst: true, withGradient: true, &sum, &correct)
        } else {
            try source.forEachBlock {
                try evaluate($0, samples: samples, isFirst: $0.first == 0, withGradient: true, &sum, &correct)
            }
        }
        loss = sum
        accuracy = Double(correct) / Double(samples)
        step += 1
        if let watch { goodSteps = Double(watch.right) >= watch.share * Double(watch.all) ? goodSteps + 1 : 0 }
        guard sum.isFinite else { return divergedAt = step }
        if rates.encoder > 0 { network.descend(weightGradient, rate: rates.encoder) }
        if rates.head > 0 {
            mk_patch_descend(
                Int32(network.compute.elementBytes), Int64(head.classes * network.kernels), rates.head, headGradient.base,
                head.weights.base)
        }
    }

    /// Loss and accuracy on all training samples with the weights as they are.
    func measure() throws -> (loss: Double, accuracy: Double) {
        var sum = 0.0
        var correct: Int64 = 0
        try network.compute.reserve(network.shape, samples: source.blockCount, classes: head.classes)
        try source.forEachBlock {
            try evaluate($0, samples: source.count, isFirst: $0.first == 0, withGradient: false, &sum, &correct)
        }
        return (sum, Double(correct) / Double(source.count))
    }

    private func evaluate(
        _ block: SampleSource.Block, samples: Int, isFirst: Bool, withGradient: Bool, _ sum: inout Double, _ correct: inout Int64
    ) throws {
        let compute = network.compute
        var call = mk_patch_classifier()
        call.network = network.shape
        call.batch = block.batch
        call.classes = Int64(head.classes)
        call.labels = block.labels
        call.weights = UnsafeRawPointer(network.weights.base)
        call.head = UnsafeRawPointer(head.weights.base)
        call.scale = 1 / Double(samples)
        call.accumulate = isFirst ? 0 : 1
        call.weight_gradient = withGradient && rates.encoder > 0 ? weightGradient.base : nil
        call.head_gradient = withGradient && rates.head > 0 ? headGradient.base : nil
        call.logits = withGradient ? watch?.logits.base : nil
        withUnsafeMutablePointer(to: &sum) { loss in
            withUnsafeMutablePointer(to: &correct) { correct in
                call.loss = loss
                call.correct = correct
                compute.kernels.classifier(compute.pool, &call)
            }
        }
        try compute.check()
        guard withGradient, let logits = watch?.logits else { return }
        if compute.precision == .float32 { count(logits.typed(Float.self), block) } else { count(logits.typed(Double.self), block) }
    }

    private func count<Real: BinaryFloatingPoint>(_ logits: UnsafeMutableBufferPointer<Real>, _ block: SampleSource.Block) {
        for n in 0..<block.count {
            let id = block.batch.ids.map { Int($0[n]) } ?? block.first + n
            guard watch?.includes(id) == true else { continue }
            let row = logits[n * head.classes..<(n + 1) * head.classes]
            let label = row[row.startIndex + Int(block.labels[n])]
            watch?.all += 1
            if row.allSatisfy({ $0 <= label }) { watch?.right += 1 }
        }
    }
}
