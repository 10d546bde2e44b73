import CMRPKernels
import MRPEngine

/// The paper's two-layer convolutional encoder: h_r(X) = sum_p f(<w_r, x_p>), r < K, with the smoothed ReLU
/// f(z) = 0 (z <= 0), z^q / (q rho^(q-1)) (0 <= z <= rho), z - (1 - 1/q) rho (z >= rho). Weights are K x d, row-major.
final class PatchNetwork {
    var shape: mk_patch_network
    let weights: Memory
    let compute: LabCompute

    var kernels: Int { Int(shape.kernels) }
    var weightCount: Int { Int(shape.kernels * shape.dimension) }

    /// Weights N(0, sigma_0^2).
    init(_ options: LabOptions, seed: Int, stream: LabStream, compute: LabCompute) throws {
        shape = mk_patch_network(
            kernels: Int64(options.kernels), dimension: Int64(options.dimension), patches: Int64(options.patches),
            power: Int32(options.power), radius: options.radius)
        self.compute = compute
        weights = try Memory(options.kernels * options.dimension, elementBytes: compute.elementBytes, for: "weights")
        mk_patch_initialize(
            Int32(compute.elementBytes), Int64(weightCount), options.initialDeviation, UInt64(seed), stream.value, weights.base)
    }

    /// A copy of the weights.
    init(copying other: PatchNetwork) throws {
        shape = other.shape
        compute = other.compute
        weights = try Memory(other.weights.bytes, elementBytes: 1, for: "weights")
        weights.base.copyMemory(from: other.weights.base, byteCount: other.weights.bytes)
    }

    /// w -= rate gradient.
    func descend(_ gradient: Memory, rate: Double) {
        mk_patch_descend(Int32(compute.elementBytes), Int64(weightCount), rate, gradient.base, weights.base)
    }

    /// features[n,r] = sum_p f(factor <w_r, x_{n,p}>) of a block, samples x K.
    func features(_ block: SampleSource.Block, factor: Double = 1, into output: Memory) throws {
        var call = mk_patch_features(
            network: shape, batch: block.batch, weights: UnsafeRawPointer(weights.base), factor: factor, features: output.base)
        compute.kernels.features(compute.pool, &call)
        try compute.check()
    }
}

/// A linear head on the encoder's features: F_i = sum_r u_{i,r} h_r, classes x K.
final class LinearHead {
    let classes: Int
    let weights: Memory
    private let precision: Precision

    /// All zero.
    init(classes: Int, network: PatchNetwork) throws {
        self.classes = classes
        precision = network.compute.precision
        weights = try Memory(
            classes * network.kernels, elementBytes: network.compute.elementBytes, zeroed: true, for: "the head")
    }

    /// The fixed head of Allen-Zhu & Li's supervised learning: class i sums the i-th block of m kernels.
    static func blocks(classes: Int, network: PatchNetwork) throws -> LinearHead {
        let head = try LinearHead(classes: classes, network: network)
        let perClass = network.kernels / classes
        for i in 0..<classes {
            for r in 0..<perClass { head.set(i * network.kernels + i * perClass + r, 1) }
        }
        return head
    }

    /// Sets one weight, by its place in classes x K.
    func set(_ index: Int, _ value: Double) {
        if precision == .float32 { weights.typed(Float.self)[index] = Float(value) } else { weights.typed(Double.self)[index] = value }
    }
}
