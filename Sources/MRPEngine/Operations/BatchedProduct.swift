import CMRPKernels

/// One matrix product for each image of a batch: y[b] = op(x[b]) op(z[b]), x [B, m, k], z [B, k, n], or transposed. Output: [B, m, n].
public struct BatchedProduct: Operation {
    let transposeA: Bool
    let transposeB: Bool

    public init(transposeA: Bool = false, transposeB: Bool = false) { (self.transposeA, self.transposeB) = (transposeA, transposeB) }

    public var name: String { "batched product" }

    private func sizes(_ a: TensorType, _ b: TensorType) -> (m: Int, n: Int, k: Int, otherK: Int) {
        (a.shape[transposeA ? 2 : 1], b.shape[transposeB ? 1 : 2], a.shape[transposeA ? 1 : 2], b.shape[transposeB ? 2 : 1])
    }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let a = inputs[0], let b = inputs[1], a.shape.count == 3, b.shape.count == 3, a.shape[0] == b.shape[0]
        else { throw shapeError(name, "needs matrices [batch, rows, columns] of as many images") }
        let size = sizes(a, b)
        guard size.k == size.otherK else { throw shapeError(name, "inner dimensions \(size.k) and \(size.otherK) differ") }
        return [TensorType([a.shape[0], size.m, size.n])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let a = node.inputs[0], let b = node.inputs[1] else { return node.noGradients }
        var result: [Value?] = [nil, nil]
        if node.wanted[0] {
            let product = BatchedProduct(transposeA: transposeA && transposeB, transposeB: transposeA ? true : !transposeB)
            result[0] = try graph.apply(product, transposeA ? [b, gradient] : [gradient, b])[0]
        }
        if node.wanted[1] {
            let product = BatchedProduct(transposeA: transposeB ? true : !transposeA, transposeB: transposeA && transposeB)
            result[1] = try graph.apply(product, transposeB ? [gradient, a] : [a, gradient])[0]
        }
        return result
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (a, b, y) = (call.type(0), call.type(1), call.outputTypes[0])
        let (size, bytes) = (sizes(a, b), call.compute.precision.bytes)
        var problem = mk_gemm()
        (problem.m, problem.n, problem.k) = (Int64(size.m), Int64(size.n), Int64(size.k))
        (problem.lda, problem.ldb, problem.ldc) = (Int64(a.width), Int64(b.width), problem.n)
        (problem.transpose_a, problem.transpose_b) = (transposeA ? 1 : 0, transposeB ? 1 : 0)
        func part(_ memory: UnsafeMutableRawPointer?, _ type: TensorType, _ image: Int) -> UnsafeMutableRawPointer? {
            memory.map { $0 + image * (type.count / type.shape[0]) * bytes }
        }
        let problems = (0..<y.shape[0]).map { image in
            problem.a = part(call.input(0), a, image).map { UnsafeRawPointer($0) }
            problem.b = part(call.input(1), b, image).map { UnsafeRawPointer($0) }
            problem.c = part(call.outputs[0], y, image)
            return problem
        }
        let (pool, gemm) = (call.pool, call.kernels.gemm)
        return Kernel(scratch: withUnsafePointer(to: problem) { call.kernels.gemm_scratch($0) }) {
            for problem in problems { withUnsafePointer(to: problem) { gemm(pool, $0) } }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        try [inputs.at(0).dot(inputs.at(1), batch: 1, contracting: (transposeA ? 1 : 2, transposeB ? 2 : 1))]
    }
}
