/// Factor of all gradients that keeps their common norm at most `limit` (torch.nn.utils.clip_grad_norm_): min(1, limit / (norm + 1e-6)).
///
/// Inputs: the norm of each gradient (real scalars). Output: the factor (float64 scalar).
public struct ClipScale: Operation {
    let limit: Double

    public init(limit: Double) { self.limit = limit }

    public var name: String { "clip scale" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard limit > 0, inputs.allSatisfy({ $0?.count == 1 && $0?.element == .real }) else {
            throw shapeError(name, "takes norms and a limit above 0, not \(limit)")
        }
        return [TensorType([], .float64)]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (limit, norms, isSingle) = (self.limit, call.inputs.compactMap { $0 }, call.compute.precision == .float32)
        let output = call.outputs[0]
        return Kernel {
            var sum = 0.0
            for norm in norms {
                let value = isSingle ? Double(norm.load(as: Float.self)) : norm.load(as: Double.self)
                sum += value * value
            }
            output?.storeBytes(of: min(1, limit / (sum.squareRoot() + 1e-6)), as: Double.self)
        }
    }
}

extension ClipScale {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        var sum = try program.constant(0, [], .f64)
        for norm in inputs.indices { sum = try sum + inputs.at(norm).reshape([]).converted(to: .f64).squared() }
        let scale = try program.constant(limit, [], .f64) / (sum.sqrt() + 1e-6)
        return [try PrimitiveValue.binary(.minimum, scale, program.constant(1, [], .f64))]
    }
}
