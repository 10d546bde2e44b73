import CMRPKernels
import Glibc
import MRPEngine
import Testing

/// Routed experts on Swift arrays.
private final class RoutedBench {
    var net = mk_routed()
    var weights, routers, readout: [Double]
    let x: [Double]
    let labels, places: [Int32]
    var scratch: [Double] = []
    let fixture: JSON

    private init(_ json: JSON, _ net: mk_routed, _ numbers: [String: [Double]]) {
        fixture = json
        self.net = net
        weights = numbers["weights"] ?? []
        routers = numbers["routers"] ?? []
        readout = numbers["readout"] ?? []
        x = numbers["x"] ?? []
        labels = (numbers["labels"] ?? []).map { Int32($0) }
        places = (numbers["places"] ?? []).map { Int32($0) }
    }

    /// The case of Tests/fixtures/routed.json, which tools/fixtures/make_routed_fixtures.py made with PyTorch. No initializer that throws: Swift
    /// 6.3.1 crashes on it when it optimises.
    static func load(gated: Bool) throws -> RoutedBench {
        let path = String(#filePath.dropLast("LabTests/RoutedTests.swift".count)) + "fixtures/routed.json"
        let file = try #require(fopen(path, "r"))
        defer { fclose(file) }
        var text = [UInt8](repeating: 0, count: 1 << 16)
        let length = fread(&text, 1, text.count, file)
        let json = try JSON.parse(String(decoding: text[..<length], as: UTF8.self))
        func integer(_ key: String) throws -> Int64 { Int64(try #require(json[key]?.number)) }
        var net = mk_routed()
        (net.experts, net.kernels, net.dimension) = try (integer("experts"), integer("kernels"), integer("dimension"))
        (net.patches, net.capacity, net.power) = try (integer("patches"), integer("capacity"), Int32(integer("power")))
        net.radius = try #require(json["radius"]?.number)
        net.gated = gated ? 1 : 0
        var numbers: [String: [Double]] = [:]
        for key in ["weights", "routers", "readout", "x", "labels", "places"] {
            numbers[key] = try #require(json[key]?.array).map { try #require($0.number) }
        }
        return RoutedBench(json, net, numbers)
    }

    func expected(_ key: String) throws -> [Double] {
        try #require((net.gated == 1 ? fixture["gated"] : fixture["plain"])?[key]?.array).map { try #require($0.number) }
    }

    /// With pointers to the arrays as they are now.
    func with<Value>(_ body: (inout mk_routed, UnsafeMutablePointer<Double>?) -> Value) -> Value {
        scratch = [Double](repeating: .nan, count: Int(mk_routed_scratch(&net)))
        return weights.withUnsafeMutableBufferPointer { weights in
            routers.withUnsafeMutableBufferPointer { routers in
                readout.withUnsafeBufferPointer { readout in
                    scratch.withUnsafeMutableBufferPointer { scratch in
                        (net.weights, net.routers, net.readout) = (weights.baseAddress, routers.baseAddress, readout.baseAddress)
                        return body(&net, scratch.baseAddress)
                    }
                }
            }
        }
    }

    func outputs() -> [Double] {
        var outputs = [Double](repeating: .nan, count: labels.count)
        with { mk_routed_outputs(&$0, x, Int64(labels.count), &outputs, $1) }
        return outputs
    }

    func gradients() -> (loss: Double, weights: [Double], routers: [Double]) {
        var byWeights = [Double](repeating: .nan, count: weights.count)
        var byRouters = [Double](repeating: .nan, count: routers.count)
        let ids = labels.indices.map { Int32($0) }
        let loss = with { mk_routed_gradients(&$0, x, labels, ids, Int64(ids.count), &byWeights, &byRouters, $1) }
        return (loss, byWeights, byRouters)
    }
}

@Suite struct RoutedTests {
    @Test(arguments: [false, true])
    func agreesWithPyTorch(gated: Bool) throws {
        let bench = try RoutedBench.load(gated: gated)
        #expect(largestDifference(bench.outputs(), try bench.expected("outputs")) < 1e-12)
        let found = bench.gradients()
        let loss = try #require((gated ? bench.fixture["gated"] : bench.fixture["plain"])?["loss"]?.number)
        #expect((found.loss - loss).magnitude < 1e-12)
        #expect(largestDifference(found.weights, try bench.expected("weights")) < 1e-12)
        #expect(largestDifference(found.routers, try bench.expected("routers")) < 1e-12)
        #expect(largest(found.weights) > 1e-3 && (largest(found.routers) > 1e-3) == gated)
    }

    @Test func gradientsAgreeWithCentralDifferences() throws {
        let bench = try RoutedBench.load(gated: true)
        let found = bench.gradients()
        let h = 1e-6
        for index in bench.weights.indices {
            bench.weights[index] += h
            let up = bench.gradients().loss
            bench.weights[index] -= 2 * h
            let down = bench.gradients().loss
            bench.weights[index] += h
            #expect(((up - down) / (2 * h) - found.weights[index]).magnitude < 1e-8)
        }
        for index in bench.routers.indices {
            bench.routers[index] += h
            let up = bench.gradients().loss
            bench.routers[index] -= 2 * h
            let down = bench.gradients().loss
            bench.routers[index] += h
            #expect(((up - down) / (2 * h) - found.routers[index]).magnitude < 1e-8)
        }
    }

    @Test func closedFormAndRanksAgreeWithNumpy() throws {
        let bench = try RoutedBench.load(gated: false)
        let (P, d, n) = (bench.net.patches, bench.net.dimension, Int64(bench.labels.count))
        var router = [Double](repeating: .nan, count: Int(d))
        mk_routed_closed_form(bench.x, bench.labels, n, P, d, &router)
        let expected = try #require(bench.fixture["closed_form"]?.array).compactMap(\.number)
        #expect(largestDifference(router, expected) < 1e-12)
        var ranks = [Int32](repeating: -1, count: Int(n))
        mk_routed_ranks(bench.x, bench.places, n, P, d, bench.routers, &ranks)
        #expect(ranks.map(Double.init) == bench.fixture["ranks"]?.array?.compactMap(\.number))
    }

    /// Equal scores: the smaller number first, in the choice and in the rank.
    @Test func tiesGoToTheSmallerNumber() throws {
        let bench = try RoutedBench.load(gated: true)
        for index in bench.routers.indices { bench.routers[index] = 0 }
        let all = bench.outputs()
        bench.net.capacity = 1
        let first = bench.outputs()
        #expect(all.allSatisfy(\.isFinite) && first.allSatisfy(\.isFinite))
        var ranks = [Int32](repeating: -1, count: bench.places.count)
        let zero = [Double](repeating: 0, count: Int(bench.net.dimension))
        mk_routed_ranks(bench.x, bench.places, Int64(bench.places.count), bench.net.patches, bench.net.dimension, zero, &ranks)
        #expect(ranks == bench.places)
        let (d, P, K) = (Int(bench.net.dimension), Int(bench.net.patches), Int(bench.net.kernels))
        let expected = (0..<Int(bench.net.experts) * K).reduce(0.0) { sum, r in
            let z = (0..<d).reduce(0.0) { $0 + bench.weights[r * d + $1] * bench.x[P * d + $1] }
            return sum + bench.readout[r] * activation(z, q: Int(bench.net.power), radius: bench.net.radius).value
        }
        #expect((first[1] - expected).magnitude < 1e-12)
    }

    @Test func notANumberPassesThrough() throws {
        let bench = try RoutedBench.load(gated: false)
        bench.weights[0] = .nan
        #expect(bench.outputs().allSatisfy(\.isNaN) || bench.gradients().loss.isNaN)
    }
}
