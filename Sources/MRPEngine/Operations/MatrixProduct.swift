import CMRPKernels

/// C = epilogue(op(A) op(B)), the general matrix product with a fused epilogue: bias, exact GELU, residual.
///
/// Inputs: A (any leading dimensions are rows), B (a matrix), bias [n]?, residual (C's shape)?, pre-activation (C's shape)?.
/// Outputs: C; with `.gelu` also the pre-activation v = op(A) op(B) + bias, which the gradient needs.
public struct MatrixProduct: Operation {
    public enum Activation {
        case none
        /// C = v Phi(v), Phi the normal distribution function (Hendrycks & Gimpel 2016), exact by erf.
        case gelu
        /// C = v * gelu'(pre-activation input).
        case geluGradient

        var code: Int32 {
            switch self {
            case .none: Int32(MK_ACTIVATION_NONE)
            case .gelu: Int32(MK_ACTIVATION_GELU)
            case .geluGradient: Int32(MK_ACTIVATION_GELU_GRADIENT)
            }
        }
    }

    enum Input {
        static let a = 0
        static let b = 1
        static let bias = 2
        static let residual = 3
        static let preactivation = 4
    }

    let transposeA: Bool
    let transposeB: Bool
    let activation: Activation

    public init(transposeA: Bool = false, transposeB: Bool = false, activation: Activation = .none) {
        self.transposeA = transposeA
        self.transposeB = transposeB
        self.activation = activation
    }

    public var name: String { "matrix product" }
    public var reusableInputs: [Int] { activation == .none ? [Input.residual] : [] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 2, let a = inputs[0], let b = inputs[1] else { throw shapeError(name, "needs two matrices") }
        let size = dimensions(a, b)
        guard size.k == size.otherK else {
            throw shapeError(name, "inner dimensions \(size.k) and \(size.otherK) differ (\(a.shape) and \(b.shape))")
        }
        let shape = transposeA ? [size.m, size.n] : a.shape.dropLast() + [size.n]
        if inputs.count > Input.bias, let bias = inputs[Input.bias], bias.shape != [size.n] {
            throw shapeError(name, "bias of shape \(bias.shape) for \(size.n) columns")
        }
        for index in [Input.residual, Input.preactivation] where inputs.count > index {
            if let other = inputs[index], other.count != size.m * size.n {
                throw shapeError(name, "a fused input of shape \(other.shape) for an output of shape \(shape)")
            }
        }
        let output = TensorType(shape)
        return activation == .gelu ? [output, output] : [output]
    }

    private func dimensions(_ a: TensorType, _ b: TensorType) -> (m: Int, n: Int, k: Int, otherK: Int) {
        (
            m: transposeA ? a.width : a.rows, n: transposeB ? b.rows : b.width,
            k: transposeA ? a.rows : a.width, otherK: transposeB ? b.width : b.rows
        )
    }

    public var addendForm: (operation: Operation, index: Int)? {
        activation == .none ? (self, Input.residual) : nil
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard var gradient = outputGradients[0], let a = node.inputs[Input.a], let b = node.inputs[Input.b] else { return node.noGradients }
        let residualGradient = gradient
        if activation == .gelu {
            gradient = try GELUGradient.apply(to: gradient, preactivation: node.outputs[1], in: graph)
        } else if activation == .geluGradient {
            throw MRPError(.unsupported, "second derivatives are not available")
        }
        var result = [Value?](repeating: nil, count: node.inputs.count)
        if node.wanted[Input.a] {
            let product = MatrixProduct(transposeA: transposeA && transposeB, transposeB: transposeA ? true : !transposeB)
            result[Input.a] = try graph.apply(product, transposeA ? [b, gradient] : [gradient, b])[0]
        }
        if node.wanted[Input.b] {
            let product = MatrixProduct(transposeA: transposeB ? true : !transposeA, transposeB: transposeA && transposeB)
            result[Input.b] = try graph.apply(product, transposeB ? [gradient, a] : [a, gradient])[0]
        }
        if node.wanted.count > Input.bias, node.wanted[Input.bias] {
            result[Input.bias] = try graph.apply(ColumnSum(), [gradient])[0]
        }
        if node.wanted.count > Input.residual, node.wanted[Input.residual] { result[Input.residual] = residualGradient }
        return result
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (a, b) = (call.type(Input.a), call.type(Input.b))
        let size = dimensions(a, b)
        let auxiliary = activation == .gelu ? call.outputs[1] : call.input(Input.preactivation)
        let problem = mk_gemm(
            m: Int64(size.m), n: Int64(size.n), k: Int64(size.k), a: call.input(Input.a), lda: Int64(a.width),
            b: call.input(Input.b), ldb: Int64(b.width), c: call.outputs[0], ldc: Int64(size.n),
            transpose_a: transposeA ? 1 : 0, transpose_b: transposeB ? 1 : 0, activation: activation.code,
            bias: call.input(Input.bias), auxiliary: auxiliary, residual: call.input(Input.residual), scale: nil, relu: 0)
        let (pool, gemm) = (call.pool, call.kernels.gemm)
        return Kernel(scratch: withUnsafePointer(to: problem) { call.kernels.gemm_scratch($0) }) {
            withUnsafePointer(to: problem) { gemm(pool, $0) }
        }
    }
}

/// A product that can multiply its result by gelu'(v) on its way out.
protocol FusesGELUGradient: Operation {
    /// The operation that does so, and its input for v; nil: with these inputs it cannot.
    func geluGradientForm(_ inputs: [Value?]) -> (operation: Operation, index: Int)?
}

extension MatrixProduct: FusesGELUGradient {
    func geluGradientForm(_ inputs: [Value?]) -> (operation: Operation, index: Int)? {
        guard activation == .none, inputs.dropFirst(2).allSatisfy({ $0 == nil }) else { return nil }
        let fused = MatrixProduct(transposeA: transposeA, transposeB: transposeB, activation: .geluGradient)
        return (fused, Input.preactivation)
    }
}

/// dv = dy * gelu'(v), where gelu'(v) = Phi(v) + v phi(v).
///
/// Fused into the matrix product that makes dy where there is one: in most networks a GELU layer is followed by a linear layer.
enum GELUGradient {
    static func apply(to gradient: Value, preactivation: Value, in graph: Graph) throws -> Value {
        guard let producer = graph.producer(of: gradient), graph.uses(of: gradient) == 0,
            let product = graph.nodes[producer].operation as? any FusesGELUGradient,
            let form = product.geluGradientForm(graph.nodes[producer].inputs)
        else { return try graph.apply(GELUDerivative(), [preactivation, gradient])[0] }
        graph.rewrite(producer, form.operation, input: preactivation, at: form.index)
        return gradient
    }
}

/// dy * gelu'(v) by itself. Inputs: v, dy.
struct GELUDerivative: Operation {
    var name: String { "gelu gradient" }
    var reusableInputs: [Int] { [1] }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 2, let x = inputs[0], let gradient = inputs[1], x.count == gradient.count else {
            throw shapeError(name, "value and gradient must have the same shape")
        }
        return [x]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let (pool, run, count) = (call.pool, call.kernels.gelu_gradient, Int64(call.type(0).count))
        let (x, gradient, output) = (call.input(0), call.input(1), call.outputs[0])
        return Kernel { run(pool, count, x, gradient, output) }
    }
}

/// The sum of all rows: the gradient of a bias.
public struct ColumnSum: Operation {
    public var name: String { "column sum" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let x = inputs.first ?? nil else { throw shapeError(name, "needs an input") }
        return [TensorType([x.width])]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (rows, columns) = (Int64(call.type(0).rows), Int64(call.type(0).width))
        let (pool, run, x, y) = (call.pool, call.kernels.column_sum, call.input(0), call.outputs[0])
        return Kernel(scratch: call.kernels.column_sum_scratch(rows, columns)) { run(pool, rows, columns, x, y) }
    }
}

extension MatrixProduct {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let a = try transposeA ? inputs.at(Input.a).matrix() : inputs.at(Input.a)
        var c = try a.dot(inputs.at(Input.b).matrix(), contracting: (transposeA ? 0 : a.last, transposeB ? 1 : 0))
        if let bias = inputs.optional(Input.bias) { c = try c + bias }
        switch activation {
        case .gelu: return try [c.gelu(), c]
        case .geluGradient: return try [c * inputs.at(Input.preactivation).reshape(c.shape).geluDerivative()]
        case .none: return try [inputs.optional(Input.residual).map { try c + $0.reshape(c.shape) } ?? c]
        }
    }
}

extension GELUDerivative {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        return try [inputs.at(1).reshape(x.shape) * x.geluDerivative()]
    }
}

extension ColumnSum {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try inputs.at(0)
        return try [x.sum(x.leading)]
    }
}
