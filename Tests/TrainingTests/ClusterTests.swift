import CMRPKernels
import MRPEngine
import MRPTraining
import Testing

/// Balanced k-means against numpy (tools/fixtures/make_cluster_fixtures.py), its promises and its errors.
@Suite struct ClusterTests {
    static func features(_ values: [Float], width: Int) throws -> Tensor {
        let tensor = try Tensor([values.count / width, width])
        _ = tensor.float32.update(fromContentsOf: values)
        return tensor
    }

    /// a b^T of matrices with rows of `width`.
    static func product(_ a: Tensor, _ b: Tensor, width: Int) -> [Double] {
        let (rows, columns) = (a.count / width, b.count / width)
        return (0..<rows * columns).map { place in
            (0..<width).reduce(0) { $0 + a[place / columns * width + $1] * b[place % columns * width + $1] }
        }
    }

    @Test(arguments: ["plain", "wide", "flat", "crowded", "repeated"]) func numpy(_ name: String) throws {
        let fixture = try Fixture(name, in: "clusters")
        let features = try Self.features(fixture.values("features"), width: fixture.integer("width"))
        let (seed, count) = (try #require(UInt64(fixture.text("seed"))), try fixture.integer("clusters"))
        let (found, ids) = try BalancedClusters.fit(features, clusters: count, seed: seed, compute: Compute())
        #expect(deviation((0..<found.width).map { found.mean[$0] }, try fixture.values("mean")) < 1e-6)
        let kept = found.whitening.shape[1]
        #expect(deviation(Self.product(found.whitening, found.whitening, width: kept), try fixture.values("whitening_product")) < 1e-6)
        #expect(ids.int32.map(Float.init) == (try fixture.values("ids")))
        #expect(deviation(Self.product(found.centres, found.centres, width: kept), try fixture.values("centre_product")) < 1e-6)
        #expect(try found.assign(features, compute: Compute()).int32.map(Float.init) == (try fixture.values("deployed")))
    }

    static func random(_ rows: Int, _ width: Int, seed: UInt64 = 1) throws -> Tensor {
        let tensor = try Tensor([rows, width])
        RandomStream(seed: seed, .test).fillNormal(tensor.float32)
        return tensor
    }

    static func bytes(_ tensor: Tensor) -> [UInt8] { Array(UnsafeRawBufferPointer(start: tensor.memory, count: tensor.bytes)) }

    @Test func threadsDoNotMatterAndClustersAreBalanced() throws {
        let features = try Self.random(1_200, 70)
        let results = try [1, 2, 3].map { threads in
            let compute = try Compute(threads: threads)
            let (clusters, ids) = try BalancedClusters.fit(features, clusters: 7, seed: 5, compute: compute)
            let later = try clusters.assign(features, compute: compute)
            return ([clusters.mean, clusters.whitening, clusters.centres, ids, later].map(Self.bytes), ids.int32.map(Int.init))
        }
        #expect(results[1].0 == results[0].0 && results[2].0 == results[0].0)
        let sizes = (0..<7).map { cluster in results[0].1.count { $0 == cluster } }
        #expect(sizes.allSatisfy { (150...194).contains($0) }, "\(sizes)")
        let other = try BalancedClusters.fit(features, clusters: 7, seed: 6, compute: Compute()).ids
        #expect(other.int32.map(Int.init) != results[0].1)
    }

    /// A Q = Q L for a matrix with eigenvalues in one place and spread over scales.
    @Test(arguments: [1, 2, 3, 50]) func eigenvectors(_ size: Int) throws {
        let parts = try Self.random(size, size)
        var matrix = [Double](repeating: 0, count: size * size)
        for i in 0..<size {
            for j in 0..<size {
                let sum = (0..<max(1, size / 3)).reduce(0.0) { $0 + parts[$1 * size + i] * parts[$1 * size + j] / Double(1 + $1 * $1) }
                matrix[i * size + j] = sum + (i == j ? 1 : 0)
            }
        }
        var (vectors, values, scratch) = (matrix, [Double](repeating: 0, count: size), [Double](repeating: 0, count: size))
        #expect(mk_symmetric_eigen(Int64(size), &vectors, &values, &scratch) == 0)
        var worst = 0.0
        for k in 0..<size {
            for i in 0..<size {
                let image = (0..<size).reduce(0.0) { $0 + matrix[i * size + $1] * vectors[k * size + $1] }
                worst = max(worst, abs(image - values[k] * vectors[k * size + i]))
                let inner = (0..<size).reduce(0.0) { $0 + vectors[k * size + $1] * vectors[i * size + $1] }
                worst = max(worst, abs(inner - (i == k ? 1 : 0)))
            }
        }
        #expect(worst < 1e-13 * Double(size) * max(1, values[0]))
        #expect(values == values.sorted(by: >))
        vectors = [.nan]
        #expect(mk_symmetric_eigen(1, &vectors, &values, &scratch) == 1)
    }

    @Test func errors() throws {
        let compute = try Compute()
        func refused(_ features: Tensor, _ clusters: Int, _ code: MRPError.Code, _ message: String) {
            let error = #expect(throws: MRPError.self) {
                try BalancedClusters.fit(features, clusters: clusters, seed: 0, compute: compute, what: "images")
            }
            #expect(error?.code == code && error?.message == message, "\(error?.message ?? "")")
        }
        let features = try Self.random(6, 4)
        refused(features, 7, .argument, "clusters 7 is outside 1 ... 6, the number of images")
        refused(features, 0, .argument, "clusters 0 is outside 1 ... 6, the number of images")
        refused(try Self.random(1, 4), 1, .argument, "clusters need 2 images at least, there are 1")
        refused(try Self.features([0.1, 3, 0.1, 3, 0.1, 3], width: 2), 2, .argument, "all 3 images have the same features")
        refused(try Tensor([3, 2]), 2, .argument, "all 3 images have the same features")
        features.float32[9] = .nan
        refused(features, 2, .numeric, "the features of number 2 of the images are not finite")
        let (clusters, _) = try BalancedClusters.fit(Self.random(6, 4), clusters: 2, seed: 0, compute: compute)
        #expect(throws: MRPError.self) { try clusters.assign(Self.random(6, 5), compute: compute) }
        #expect(throws: MRPError.self) { try clusters.assign(features, compute: compute) }
        #expect(throws: MRPError.self) {
            try BalancedClusters(mean: clusters.mean, whitening: clusters.whitening, centres: Self.random(2, 3))
        }
        var flag: Int32 = 1
        #expect(throws: Cancelled.self) {
            try Interruption.allowed(&flag) { try BalancedClusters.fit(Self.random(6, 4), clusters: 2, seed: 0, compute: compute) }
        }
    }
}
