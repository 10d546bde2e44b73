import CMRPKernels
import MRPEngine
import MRPLab

/// Aligned memory for kernels.
final class TestMemory {
    let base: UnsafeMutableRawPointer
    let bytes: Int

    init(bytes: Int) {
        self.bytes = bytes
        base = .allocate(byteCount: max(bytes, 1), alignment: 64)
    }

    deinit { base.deallocate() }

    func typed<Element>(_: Element.Type) -> UnsafeMutableBufferPointer<Element> {
        let count = bytes / MemoryLayout<Element>.stride
        return UnsafeMutableBufferPointer(start: base.bindMemory(to: Element.self, capacity: count), count: count)
    }
}

/// Calls the fast kernels on Swift arrays, in either precision.
final class KernelBench {
    let table: mk_patch_kernels
    let pool: OpaquePointer
    let reference: ReferenceNetwork
    let samples: Int
    var shape: mk_patch_network

    var isDouble: Bool { table.element_bytes == 8 }

    init?(_ reference: ReferenceNetwork, samples: Int, isa: Int32, precision: Precision, threads: Int32 = 1, classes: Int = 0) {
        guard let table = mk_patch_kernels_for(isa, Int32(precision.bytes)), let pool = mk_pool_create(threads) else { return nil }
        self.table = table.pointee
        self.pool = pool
        self.reference = reference
        self.samples = samples
        shape = mk_patch_network(
            kernels: Int64(reference.kernels), dimension: Int64(reference.dimension), patches: Int64(reference.patches),
            power: Int32(reference.q), radius: reference.radius)
        let need = table.pointee.scratch(&shape, Int64(samples), Int64(classes))
        mk_pool_reserve(pool, need.per_worker, need.shared)
    }

    deinit { mk_pool_destroy(pool) }

    func memory(_ values: [Double]) -> TestMemory {
        let memory = TestMemory(bytes: values.count * Int(table.element_bytes))
        for (index, value) in values.enumerated() {
            if isDouble { memory.typed(Double.self)[index] = value } else { memory.typed(Float.self)[index] = Float(value) }
        }
        return memory
    }

    func values(_ memory: TestMemory) -> [Double] {
        isDouble ? Array(memory.typed(Double.self)) : memory.typed(Float.self).map(Double.init)
    }

    func batch(_ x: TestMemory) -> mk_patch_batch {
        mk_patch_batch(samples: Int64(samples), x: UnsafeRawPointer(x.base), rows: nil, ids: nil, first_id: 0)
    }

    func features(_ w: [Double], _ x: [Double], factor: Double) -> [Double] {
        let (weights, data) = (memory(w), memory(x))
        let output = memory([Double](repeating: 0, count: samples * reference.kernels))
        var call = mk_patch_features(
            network: shape, batch: batch(data), weights: UnsafeRawPointer(weights.base), factor: factor, features: output.base)
        table.features(pool, &call)
        return values(output)
    }

    func reconstruction(
        _ w: [Double], _ x: [Double], tau: Double, theta: Double, sampled: Bool, step: UInt32 = 0, teacher: [Double]? = nil
    ) -> (loss: Double, gradient: [Double], largest: [Double]) {
        let (weights, data, target) = (memory(w), memory(x), teacher.map(memory))
        let gradient = memory([Double](repeating: .nan, count: w.count))
        let largest = memory([Double](repeating: .nan, count: reference.kernels))
        var loss = Double.nan
        withUnsafeMutablePointer(to: &loss) { loss in
            var call = mk_patch_reconstruction(
                network: shape, batch: batch(data), weights: UnsafeRawPointer(weights.base),
                teacher: target.map { UnsafeRawPointer($0.base) }, tau: tau, theta: theta, scale: 1 / Double(samples),
                sampled: sampled ? 1 : 0, seed: 11, stream: 7, step: step, accumulate: 0, gradient: gradient.base, loss: loss,
                largest: largest.base)
            table.reconstruction(pool, &call)
        }
        return (loss, values(gradient), values(largest))
    }

    func classifier(
        _ w: [Double], _ u: [Double], _ x: [Double], _ labels: [Int32], classes: Int
    ) -> (loss: Double, weights: [Double], head: [Double], correct: Int, logits: [Double]) {
        let (weights, head, data) = (memory(w), memory(u), memory(x))
        let weightGradient = memory([Double](repeating: .nan, count: w.count))
        let headGradient = memory([Double](repeating: .nan, count: u.count))
        let logits = memory([Double](repeating: .nan, count: samples * classes))
        var loss = Double.nan
        var correct: Int64 = -1
        withUnsafeMutablePointer(to: &loss) { loss in
            withUnsafeMutablePointer(to: &correct) { correct in
                labels.withUnsafeBufferPointer { labels in
                    var call = mk_patch_classifier()
                    call.network = shape
                    call.batch = batch(data)
                    call.classes = Int64(classes)
                    call.labels = labels.baseAddress
                    call.weights = UnsafeRawPointer(weights.base)
                    call.head = UnsafeRawPointer(head.base)
                    call.scale = 1 / Double(samples)
                    call.weight_gradient = weightGradient.base
                    call.head_gradient = headGradient.base
                    call.loss = loss
                    call.correct = correct
                    call.logits = logits.base
                    table.classifier(pool, &call)
                }
            }
        }
        return (loss, values(weightGradient), values(headGradient), Int(correct), values(logits))
    }

    /// The masks of a step, as mk_patch_network.h defines them.
    func keeps(theta: Double, step: UInt32) -> [Bool] {
        let padded = (reference.patches + 3) / 4 * 4
        return (0..<samples).flatMap { n in
            var uniform = [Float](repeating: 0, count: reference.patches)
            mk_random_uniform(11, 7, step, UInt64(n * padded), Int64(uniform.count), &uniform)
            return uniform.map { Double($0) < theta }
        }
    }
}

func normal(_ count: Int, stream: UInt32, scale: Double = 1) -> [Double] {
    var values = [Float](repeating: 0, count: count)
    mk_random_normal(5, stream << 8 | RandomStream.Purpose.test.rawValue, 0, 0, Int64(count), &values)
    return values.map { Double($0) * scale }
}

func largestDifference(_ a: [Double], _ b: [Double]) -> Double {
    guard a.count == b.count else { return .infinity }
    return zip(a, b).reduce(0) { max($0, ($1.0 - $1.1).magnitude.isNaN ? .infinity : ($1.0 - $1.1).magnitude) }
}

func largest(_ a: [Double]) -> Double { a.reduce(0) { max($0, $1.magnitude) } }

let availableInstructions: [Int32] = (0...3).filter { mk_isa_available($0) != 0 }
