import CMRPKernels

/// One matrix product for each expert over its rows alone, with the epilogues of `MatrixProduct`: y[i] = epilogue(x[i] W_e^T + b_e) for
/// offsets[e] <= i < offsets[e + 1]. Each product is cut into tasks by its shape, so the bits do not depend on the threads, and a row's bits
/// do not depend on the rows beside it.
///
/// Inputs: x [N, I], offsets [E + 1] int32, pre-activation (y's shape)?, then E weights [O, I] and E biases [O] (all nil: none).
/// Outputs: y [N, O]; with `.gelu` also the pre-activation. `transposed`: the weights are [I, O] as they lie, y = x W_e.
public struct ExpertProduct: Operation {
    let experts: Int
    let transposed: Bool
    let activation: MatrixProduct.Activation

    public init(experts: Int, transposed: Bool = false, activation: MatrixProduct.Activation = .none) {
        self.experts = experts
        self.transposed = transposed
        self.activation = activation
    }

    enum Input {
        static let x = 0
        static let offsets = 1
        static let preactivation = 2
        static let weights = 3
    }

    private var firstBias: Int { Input.weights + experts }

    public var name: String { "expert product" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard experts >= 1, inputs.count == Input.weights + 2 * experts, let x = inputs[Input.x], let weight = inputs[Input.weights],
            inputs[Input.offsets] == TensorType([experts + 1], .int32)
        else { throw shapeError(name, "needs rows, offsets, and weights of \(experts) experts") }
        let (outputs, width) = transposed ? (weight.width, weight.rows) : (weight.rows, weight.width)
        guard width == x.width, inputs[Input.weights..<firstBias].allSatisfy({ $0 == weight }) else {
            throw shapeError(name, "weights \(weight.shape) for rows of \(x.width)")
        }
        guard inputs[firstBias...].allSatisfy({ $0.map { $0.shape == [outputs] } ?? true }) else {
            throw shapeError(name, "a bias that is not of \(outputs) outputs")
        }
        let y = TensorType([x.rows, outputs])
        return activation == .gelu ? [y, y] : [y]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard var gradient = outputGradients[0] else { return node.noGradients }
        if activation == .gelu {
            gradient = try GELUGradient.apply(to: gradient, preactivation: node.outputs[1], in: graph)
        } else if activation == .geluGradient {
            throw MRPError(.unsupported, "second derivatives are not available")
        }
        var result = [Value?](repeating: nil, count: node.inputs.count)
        let (offsets, weights) = (node.inputs[Input.offsets], node.inputs[Input.weights..<firstBias])
        if node.wanted[Input.x] {
            let back = ExpertProduct(experts: experts, transposed: !transposed)
            let none = [Value?](repeating: nil, count: experts)
            result[Input.x] = try graph.apply(back, [gradient, offsets, nil] + weights + none)[0]
        }
        if node.wanted[Input.weights..<firstBias].contains(true) {
            let pair = transposed ? [node.inputs[Input.x], gradient] : [gradient, node.inputs[Input.x]]
            let gradients = try graph.apply(ExpertWeightGradient(experts: experts), pair + [offsets])
            for (expert, gradient) in gradients.enumerated() { result[Input.weights + expert] = gradient }
        }
        if node.wanted[firstBias...].contains(true) {
            let gradients = try graph.apply(ExpertColumnSum(experts: experts), [gradient, offsets])
            for (expert, gradient) in gradients.enumerated() { result[firstBias + expert] = gradient }
        }
        return result
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (x, y, kernels, pool) = (call.type(Input.x), call.outputTypes[0], call.kernels, call.pool)
        let auxiliary = activation == .gelu ? call.outputs[1] : call.input(Input.preactivation)
        let weights = (0..<experts).map { call.input(Input.weights + $0) }
        let biases = (0..<experts).map { call.input(firstBias + $0) }
        let (input, output, offsets) = (call.input(Input.x), call.outputs[0], call.indices(Input.offsets))
        let bytes = call.compute.precision.bytes
        var problem = mk_gemm()
        (problem.n, problem.k) = (Int64(y.width), Int64(x.width))
        (problem.lda, problem.ldb, problem.ldc) = (problem.k, Int64(call.type(Input.weights).width), problem.n)
        problem.transpose_b = transposed ? 0 : 1
        problem.activation = activation.code
        let shape = problem
        return Kernel(scratch: kernels.largestScratch(of: shape, upTo: x.rows) { $0.m = $1 }) {
            guard let offsets else { return }
            for expert in weights.indices {
                let (first, last) = (Int(offsets[expert]), Int(offsets[expert + 1]))
                guard last > first else { continue }
                var problem = shape
                problem.m = Int64(last - first)
                problem.a = UnsafeRawPointer(input.map { $0 + first * x.width * bytes })
                problem.b = UnsafeRawPointer(weights[expert])
                problem.bias = UnsafeRawPointer(biases[expert])
                problem.c = output.map { $0 + first * y.width * bytes }
                problem.auxiliary = auxiliary.map { $0 + first * y.width * bytes }
                withUnsafePointer(to: problem) { kernels.gemm(pool, $0) }
            }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(Input.x)
        var sum: PrimitiveValue?
        for expert in 0..<experts {
            var y = try x.dot(inputs.at(Input.weights + expert), contracting: (1, transposed ? 0 : 1))
            if let bias = inputs.optional(firstBias + expert) { y = try y + bias }
            y = try inputs.at(Input.offsets).isRow(of: expert, x.rows).choose(y, 0)
            sum = try sum.map { try $0 + y } ?? y
        }
        guard let v = sum else { throw MRPError(.internalError, "\(name): no experts") }
        switch activation {
        case .none: return [v]
        case .gelu: return [try v.gelu(), v]
        case .geluGradient: return [try v * inputs.at(Input.preactivation).reshape(v.shape).geluDerivative()]
        }
    }
}

extension ExpertProduct: FusesGELUGradient {
    func geluGradientForm(_ inputs: [Value?]) -> (operation: Operation, index: Int)? {
        guard activation == .none, inputs[Input.preactivation] == nil, inputs[firstBias...].allSatisfy({ $0 == nil }) else { return nil }
        return (ExpertProduct(experts: experts, transposed: transposed, activation: .geluGradient), Input.preactivation)
    }
}

/// dW_e = sum over the expert's rows of a[i]^T b[i]: zero for an expert without rows. Inputs: a [N, O], b [N, I], offsets [E + 1]. Outputs: E
/// matrices [O, I].
struct ExpertWeightGradient: Operation {
    let experts: Int

    var name: String { "expert weight gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 3, let a = inputs[0], let b = inputs[1], a.rows == b.rows else {
            throw shapeError(name, "needs as many rows of both")
        }
        return Array(repeating: TensorType([a.width, b.width]), count: experts)
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (a, b, kernels, pool, bytes) = (call.type(0), call.type(1), call.kernels, call.pool, call.compute.precision.bytes)
        let (left, right, offsets, outputs) = (call.input(0), call.input(1), call.indices(2), call.outputs)
        var problem = mk_gemm()
        (problem.m, problem.n, problem.transpose_a) = (Int64(a.width), Int64(b.width), 1)
        (problem.lda, problem.ldb, problem.ldc) = (problem.m, problem.n, problem.n)
        let shape = problem
        return Kernel(scratch: kernels.largestScratch(of: shape, upTo: a.rows) { $0.k = $1 }) {
            guard let offsets else { return }
            for expert in outputs.indices {
                let first = Int(offsets[expert])
                var problem = shape
                problem.k = Int64(Int(offsets[expert + 1]) - first)
                problem.a = UnsafeRawPointer(left.map { $0 + first * a.width * bytes })
                problem.b = UnsafeRawPointer(right.map { $0 + first * b.width * bytes })
                problem.c = outputs[expert]
                withUnsafePointer(to: problem) { kernels.gemm(pool, $0) }
            }
        }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let a = try inputs.at(0).matrix()
        return try (0..<experts).map { expert in
            try inputs.at(2).isRow(of: expert, a.rows).choose(a, 0).dot(inputs.at(1).matrix(), contracting: (0, 0))
        }
    }
}

/// The sums of each expert's rows: gradients of biases. Inputs: x [N, O], offsets [E + 1]. Outputs: E vectors [O].
struct ExpertColumnSum: Operation {
    let experts: Int

    var name: String { "expert column sum" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let x = inputs[0] else { throw shapeError(name, "needs rows and offsets") }
        return Array(repeating: TensorType([x.width]), count: experts)
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (x, kernels, pool, bytes) = (call.type(0), call.kernels, call.pool, call.compute.precision.bytes)
        let (input, offsets, outputs) = (call.input(0), call.indices(1), call.outputs)
        return Kernel(scratch: kernels.column_sum_scratch(Int64(x.rows), Int64(x.width))) {
            guard let offsets else { return }
            for expert in outputs.indices {
                let first = Int(offsets[expert])
                let rows = Int64(Int(offsets[expert + 1]) - first)
                kernels.column_sum(pool, rows, Int64(x.width), input.map { $0 + first * x.width * bytes }, outputs[expert])
            }
        }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0).matrix()
        return try (0..<experts).map { try inputs.at(1).isRow(of: $0, x.rows).choose(x, 0).sum([0]) }
    }
}

extension PrimitiveValue {
    /// Of offsets [E + 1]: which of `count` routed rows are the expert's, [count, 1].
    fileprivate func isRow(of expert: Int, _ count: Int) throws -> PrimitiveValue {
        try (expertOfRow(count) .== Double(expert)).reshape([count, 1])
    }
}

extension mk_kernels {
    /// Enough scratch for products of this shape whatever the number that `set` writes, up to `most`.
    fileprivate func largestScratch(of shape: mk_gemm, upTo most: Int, _ set: (inout mk_gemm, Int64) -> Void) -> mk_scratch {
        var (problem, largest) = (shape, mk_scratch(per_worker: 0, shared: 0))
        for size in 0...Int64(most) {
            set(&problem, size)
            let scratch = withUnsafePointer(to: problem) { gemm_scratch($0) }
            largest.per_worker = max(largest.per_worker, scratch.per_worker)
            largest.shared = max(largest.shared, scratch.shared)
        }
        return largest
    }
}
