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

    private let source: SampleSource
    private let rates: Rates
    private let batchSize: Int
    private let order: BatchOrder?
    private let weightGradient, headGradient: Memory

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

    /// One step of gradient descent. Does nothing after divergence.
    func advance() throws {
        guard divergedAt == nil else { return }
        let samples = order == nil ? source.count : batchSize
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
        withUnsafeMutablePointer(to: &sum) { loss in
            withUnsafeMutablePointer(to: &correct) { count in
                call.loss = loss
                call.correct = count
                compute.kernels.classifier(compute.pool, &call)
            }
        }
        try compute.check()
    }
}
