import CMRPKernels
import MRPEngine

/// Samples of patch_routing in double, as the routed experts read them.
final class RoutedSamples {
    let count: Int
    let patches, dimension: Int
    let x: UnsafeMutableBufferPointer<Double>
    let labels: UnsafeMutableBufferPointer<Int32>
    /// The patch that tells the class.
    let places: UnsafeMutableBufferPointer<Int32>
    private let memory: [Memory]

    init(_ distribution: PatchDistribution, _ stream: LabStream, count: Int, compute: LabCompute) throws {
        let options = distribution.options
        self.count = count
        (patches, dimension) = (options.patches, options.dimension)
        memory = try [
            Memory(checkedProduct([count, patches, dimension]), elementBytes: 8, for: "\(count) samples"),
            Memory(count, elementBytes: 4, for: "labels"), Memory(count, elementBytes: 4, for: "places"),
        ]
        x = memory[0].typed(Double.self)
        labels = memory[1].typed(Int32.self)
        places = memory[2].typed(Int32.self)
        var data = distribution.description(.mixed, stream)
        try compute.reserve(mk_patch_data_scratch(&data))
        mk_patch_data_generate(
            compute.pool, 8, &data, 0, nil, Int64(count), memory[0].base, labels.baseAddress, nil, places.baseAddress, nil)
        try compute.check()
    }

    /// Of each sample of a class the rank of the patch that tells it, 0 for the best, under a router.
    func ranks(_ router: UnsafeBufferPointer<Double>, class label: Int32) throws -> [Int32] {
        let ranks = try Memory(count, elementBytes: 4, for: "ranks")
        mk_routed_ranks(
            x.baseAddress, places.baseAddress, Int64(count), Int64(patches), Int64(dimension), router.baseAddress,
            ranks.typed(Int32.self).baseAddress)
        return ranks.typed(Int32.self).enumerated().compactMap { labels[$0] == label ? $1 : nil }
    }
}

/// Experts with routers (arXiv 2306.04073, equation 1), trained by stochastic gradient descent.
final class RoutedExperts {
    private(set) var net = mk_routed()
    let routers: UnsafeMutableBufferPointer<Double>
    let weights: UnsafeMutableBufferPointer<Double>
    private let readout, weightMemory, routerMemory, weightGradient, routerGradient, scratch: Memory

    /// `kernels` in all, shared out evenly; a ~ N(0, 1) fixed, w ~ N(0, 1 / kernels). Routers are 0 until they are set.
    init(_ options: LabOptions, experts: Int, capacity: Int, gated: Bool, seed: Int) throws {
        let (kernels, d) = (options.kernels, options.dimension)
        readout = try Memory(kernels, elementBytes: 8, for: "the readout")
        weightMemory = try Memory(checkedProduct([kernels, d]), elementBytes: 8, for: "weights")
        routerMemory = try Memory(checkedProduct([experts, d]), elementBytes: 8, zeroed: true, for: "routers")
        weightGradient = try Memory(kernels * d, elementBytes: 8, for: "gradients")
        routerGradient = try Memory(experts * d, elementBytes: 8, for: "gradients")
        mk_patch_initialize(8, Int64(kernels), 1, UInt64(seed), LabStream.readout.value, readout.base)
        mk_patch_initialize(
            8, Int64(kernels * d), 1 / Double(kernels).squareRoot(), UInt64(seed), LabStream.weights.value, weightMemory.base)
        weights = weightMemory.typed(Double.self)
        routers = routerMemory.typed(Double.self)
        net.experts = Int64(experts)
        net.kernels = Int64(kernels / experts)
        net.dimension = Int64(d)
        net.patches = Int64(options.patches)
        net.capacity = Int64(capacity)
        net.power = Int32(options.power)
        net.radius = options.radius
        net.gated = gated ? 1 : 0
        net.readout = UnsafePointer(readout.typed(Double.self).baseAddress)
        net.weights = weights.baseAddress
        net.routers = routers.baseAddress
        scratch = try Memory(Int(mk_routed_scratch(&net)), elementBytes: 8, for: "scratch")
    }

    func router(_ expert: Int) -> UnsafeBufferPointer<Double> {
        let d = Int(net.dimension)
        return UnsafeBufferPointer(rebasing: routers[expert * d..<(expert + 1) * d])
    }

    /// One step on the samples that `ids` names; the mean loss before it. A router rate of 0 leaves the routers as they are.
    func step(_ samples: RoutedSamples, _ ids: UnsafeBufferPointer<Int32>, rate: Double, routerRate: Double) -> Double {
        let (byWeights, byRouters) = (weightGradient.typed(Double.self), routerGradient.typed(Double.self))
        let loss = mk_routed_gradients(
            &net, samples.x.baseAddress, samples.labels.baseAddress, ids.baseAddress, Int64(ids.count), byWeights.baseAddress,
            routerRate > 0 ? byRouters.baseAddress : nil, scratch.typed(Double.self).baseAddress)
        mk_patch_descend(8, Int64(weights.count), rate, weightGradient.base, weightMemory.base)
        if routerRate > 0 { mk_patch_descend(8, Int64(routers.count), routerRate, routerGradient.base, routerMemory.base) }
        return loss
    }

    /// F of every sample: positive for class 0.
    func outputs(_ samples: RoutedSamples) throws -> Memory {
        let outputs = try Memory(samples.count, elementBytes: 8, for: "outputs")
        mk_routed_outputs(
            &net, samples.x.baseAddress, Int64(samples.count), outputs.typed(Double.self).baseAddress,
            scratch.typed(Double.self).baseAddress)
        return outputs
    }

    func accuracy(_ samples: RoutedSamples) throws -> Double {
        let outputs = try outputs(samples)
        let right = outputs.typed(Double.self).enumerated().count { samples.labels[$0] == 0 ? $1 > 0 : $1 < 0 }
        return Double(right) / Double(samples.count)
    }

    /// Of each class the largest share of its samples, over the experts, in which the telling patch has an expert's largest gate.
    func gateHits(_ samples: RoutedSamples) throws -> [Double] {
        try (0..<2).map { label in
            let shares = try (0..<Int(net.experts)).map { Self.hit(try samples.ranks(router($0), class: Int32(label)), 1) }
            return shares.max() ?? .nan
        }
    }

    /// Mean over the classes of the share of samples whose telling patch is among the `capacity` best of the class's own expert.
    func hits(_ samples: RoutedSamples, capacity: Int) throws -> Double {
        let shares = try (0..<2).map { Self.hit(try samples.ranks(router($0), class: Int32($0)), capacity) }
        return (shares[0] + shares[1]) / 2
    }

    static func hit(_ ranks: [Int32], _ capacity: Int) -> Double {
        ranks.isEmpty ? .nan : Double(ranks.count { $0 < capacity }) / Double(ranks.count)
    }
}
