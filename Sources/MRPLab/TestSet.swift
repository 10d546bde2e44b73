import CMRPKernels
import MRPEngine

/// Fresh samples of one kind, and how a network with a head does on them.
final class TestSet {
    let source: SampleSource
    private let compute: LabCompute
    private var logits: Memory?
    private let marginMemory: Memory

    var bytes: Int { source.bytes + (logits?.bytes ?? 0) + marginMemory.bytes }

    init(
        _ distribution: PatchDistribution, _ kind: PatchDistribution.Kind, _ stream: LabStream, count: Int, compute: LabCompute
    ) throws {
        self.compute = compute
        source = try SampleSource(distribution, kind, stream, count: count, compute: compute)
        marginMemory = try Memory(count, elementBytes: 8, for: "margins")
    }

    /// F_y - max_{j != y} F_j of every sample, y its class: a sample is right when it is positive. The head's outputs are shared out evenly
    /// among `classes`, of which each has the greatest of its own; 0: an output is a class. Valid until the next call.
    func margins(_ network: PatchNetwork, _ head: LinearHead, classes: Int = 0) throws -> UnsafeMutableBufferPointer<Double> {
        let logits = try Memory(
            checkedProduct([source.blockCount, head.classes]), elementBytes: compute.elementBytes, for: "logits")
        self.logits = logits
        try compute.reserve(network.shape, samples: source.blockCount, classes: head.classes)
        try source.forEachBlock { block in
            var call = mk_patch_classifier()
            var loss = 0.0
            var correct: Int64 = 0
            call.network = network.shape
            call.batch = block.batch
            call.classes = Int64(head.classes)
            call.labels = block.labels
            call.weights = UnsafeRawPointer(network.weights.base)
            call.head = UnsafeRawPointer(head.weights.base)
            call.scale = 1
            call.logits = logits.base
            withUnsafeMutablePointer(to: &loss) { loss in
                withUnsafeMutablePointer(to: &correct) { correct in
                    call.loss = loss
                    call.correct = correct
                    compute.kernels.classifier(compute.pool, &call)
                }
            }
            try compute.check()
            let share = head.classes / (classes == 0 ? head.classes : classes)
            if compute.precision == .float32 {
                take(logits.typed(Float.self), block, head.classes, share)
            } else {
                take(logits.typed(Double.self), block, head.classes, share)
            }
        }
        return marginMemory.typed(Double.self)
    }

    static func accuracy(_ margins: UnsafeMutableBufferPointer<Double>) -> Double {
        margins.isEmpty ? .nan : Double(margins.count { $0 > 0 }) / Double(margins.count)
    }

    private func take<Real: BinaryFloatingPoint>(
        _ logits: UnsafeMutableBufferPointer<Real>, _ block: SampleSource.Block, _ outputs: Int, _ share: Int
    ) {
        let values = marginMemory.typed(Double.self)
        for n in 0..<block.count {
            let label = Int(block.labels[n])
            var (own, other) = (-Double.infinity, -Double.infinity)
            for i in 0..<outputs {
                let value = Double(logits[n * outputs + i])
                // A NaN stays, and is never right.
                if i / share == label { own = value > own || value.isNaN ? value : own } else { other = max(other, value) }
            }
            values[block.first + n] = own - other
        }
    }
}
