import CMRPKernels
import MRPEngine

/// Mask-reconstruction pretraining of the paper's network. A student that sees masked patches predicts, through the decoder
/// h'_r = h_r / theta, the teacher's features of the whole sample:
///
///     L = 1/(2N) sum_n sum_r ( h^_r(X_n) - h'_r(eps X_n) )^2,   eps_p ~ Bernoulli(theta), 1 = kept
///
/// or its exact average over masks, 1/(2N) sum_n sum_r [ (h^_r - h_r)^2 + kappa sum_p f(<w_r,x_p>)^2 ], kappa = 1/theta - 1.
/// No gradient flows through the teacher; labels are not read.
final class Pretraining {
    let network: PatchNetwork
    /// Loss of the last step.
    private(set) var loss = Double.nan
    /// The first step whose loss was not finite; the run ends there.
    private(set) var divergedAt: Int?
    private(set) var step = 0

    private let options: LabOptions
    private let source: SampleSource
    private let order: BatchOrder?
    private let seed: Int
    private let gradient, largest: Memory
    private let teacher: Teacher

    var bytes: Int { gradient.bytes + largest.bytes + teacher.bytes + network.weights.bytes }

    init(_ network: PatchNetwork, _ source: SampleSource, _ options: LabOptions, seed: Int) throws {
        self.network = network
        self.source = source
        self.options = options
        self.seed = seed
        let bytes = network.compute.elementBytes
        gradient = try Memory(network.weightCount, elementBytes: bytes, for: "gradients")
        largest = try Memory(network.kernels, elementBytes: bytes, for: "gradients")
        let batch = options.pretrainBatch
        order = batch > 0 ? try BatchOrder(count: source.count, size: batch, seed: seed, stream: .pretrainOrder) : nil
        let perCall = batch > 0 ? batch : source.blockCount
        teacher = try Teacher(options, student: network, samples: perCall)
        try network.compute.reserve(network.shape, samples: perCall, classes: 0)
    }

    /// One step of gradient descent. Does nothing after divergence.
    func advance() throws {
        guard divergedAt == nil else { return }
        let samples = order == nil ? source.count : options.pretrainBatch
        var sum = 0.0
        if let order {
            try accumulate(try source.batch(order.next()), samples: samples, isFirst: true, &sum)
        } else {
            try source.forEachBlock { try accumulate($0, samples: samples, isFirst: $0.first == 0, &sum) }
        }
        loss = sum
        step += 1
        guard sum.isFinite else { return divergedAt = step }
        let bytes = Int32(network.compute.elementBytes)
        switch options.stepRule {
        case .plain: network.descend(gradient, rate: options.pretrainRate)
        case .relative:
            mk_patch_descend_relative(
                bytes, &network.shape, options.pretrainRate, options.relativeStep, gradient.base, largest.base, network.weights.base)
        }
        teacher.follow(network)
    }

    private func accumulate(_ block: SampleSource.Block, samples: Int, isFirst: Bool, _ sum: inout Double) throws {
        let compute = network.compute
        let target = try teacher.features(block)
        var call = mk_patch_reconstruction(
            network: network.shape, batch: block.batch, weights: UnsafeRawPointer(network.weights.base), teacher: target,
            tau: options.tau, theta: options.theta, scale: 1 / Double(samples), sampled: options.masks == .sampled ? 1 : 0,
            seed: UInt64(seed), stream: LabStream.masks.value, step: UInt32(truncatingIfNeeded: step), accumulate: isFirst ? 0 : 1,
            gradient: gradient.base, loss: nil, largest: largest.base)
        withUnsafeMutablePointer(to: &sum) {
            call.loss = $0
            compute.kernels.reconstruction(compute.pool, &call)
        }
        try compute.check()
    }
}
