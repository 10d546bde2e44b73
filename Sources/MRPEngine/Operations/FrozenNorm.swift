import CMRPKernels

extension Graph {
    /// Batch norm with frozen statistics, residual and activation, without gradients: the same result as `BatchNorm`.
    ///
    /// When a convolution makes x, they become part of that convolution and need no pass over memory of their own. The plain convolution
    /// stays in the graph and is computed only if another node reads it.
    ///
    /// x [..., C]; gamma, beta, mean, variance [C]; residual of x's shape.
    public func frozenBatchNorm(
        _ x: Value, gamma: Value, beta: Value, mean: Value, variance: Value, residual: Value? = nil, epsilon: Double,
        activation: BatchNorm.Activation = .none
    ) throws -> Value {
        guard let (convolution, inputs) = bareConvolution(x) else {
            let norm = BatchNorm(epsilon: epsilon, activation: activation, frozen: true)
            return try apply(norm, [x, gamma, beta, residual, mean, variance])[0]
        }
        let norm = try apply(FrozenNorm(epsilon: epsilon), [gamma, beta, mean, variance])
        var joined = inputs + [Value?](repeating: nil, count: max(0, Convolution.Input.count - inputs.count))
        joined[Convolution.Input.scale] = norm[0]
        joined[Convolution.Input.bias] = norm[1]
        joined[Convolution.Input.addend] = residual
        let operation = Convolution(
            rows: convolution.rows, columns: convolution.columns, groups: convolution.groups, activation: activation)
        return try apply(operation, joined)[0]
    }

    /// The convolution that makes x, if it is plain (no bias, addend or scale) and x has no readers yet.
    private func bareConvolution(_ x: Value) -> (Convolution, [Value?])? {
        guard let node = producer(of: x).map({ nodes[$0] }), let convolution = node.operation as? Convolution,
            convolution.activation == .none, uses(of: x) == 0
        else { return nil }
        let added = [Convolution.Input.bias, Convolution.Input.addend, Convolution.Input.scale]
        guard !added.contains(where: { $0 < node.inputs.count && node.inputs[$0] != nil }) else { return nil }
        return (convolution, node.inputs)
    }
}

/// A batch norm with frozen statistics as scale x + shift.
///
/// Inputs: gamma, beta, mean, variance, [C] each. Outputs: scale [C] = gamma / sqrt(variance + epsilon), shift [C] = beta - mean scale.
struct FrozenNorm: Operation {
    let epsilon: Double

    var name: String { "frozen norm" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 4, let gamma = inputs[0], gamma.shape.count == 1, inputs.allSatisfy({ $0 == gamma }) else {
            throw shapeError(name, "scale, shift and statistics must have the same width")
        }
        return [gamma, gamma]
    }

    func kernel(_ call: KernelCall) -> Kernel {
        var problem = mk_batch_norm()
        problem.width = Int64(call.type(0).width)
        problem.epsilon = epsilon
        problem.gamma = call.input(0).map { UnsafeRawPointer($0) }
        problem.beta = call.input(1).map { UnsafeRawPointer($0) }
        problem.mean = call.input(2).map { UnsafeRawPointer($0) }
        problem.variance = call.input(3).map { UnsafeRawPointer($0) }
        let (pool, run, prepared, scale, shift) = (call.pool, call.kernels.batch_norm_fold, problem, call.outputs[0], call.outputs[1])
        return Kernel { withUnsafePointer(to: prepared) { run(pool, $0, scale, shift) } }
    }
}

extension FrozenNorm {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let scale = try inputs.at(0) * (inputs.at(3) + epsilon).rsqrt()
        return try [scale, inputs.at(1) - inputs.at(2) * scale]
    }
}
