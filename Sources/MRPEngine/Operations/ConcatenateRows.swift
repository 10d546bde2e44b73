/// The rows of several tensors, one after the other: [R1, ...], [R2, ...] ... -> [R1 + R2 ..., ...].
public struct ConcatenateRows: Operation {
    public init() {}

    public var name: String { "concatenation of rows" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let types = inputs.compactMap { $0 }
        guard let first = types.first, types.count == inputs.count,
            types.allSatisfy({ $0.element == .real && !$0.shape.isEmpty && $0.shape.dropFirst() == first.shape.dropFirst() })
        else { throw shapeError(name, "takes tensors that differ in their rows only") }
        return [TensorType([types.reduce(0) { $0 + $1.shape[0] }] + first.shape.dropFirst())]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0] else { return node.noGradients }
        var first = 0
        return try zip(node.inputs, node.wanted).map { input, isWanted in
            guard let input else { return nil }
            let count = graph.shape(of: input)[0]
            defer { first += count }
            return isWanted ? try graph.apply(SliceRows(first: first, count: count), [gradient])[0] : nil
        }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let output = call.outputs[0]
        let parts = call.inputs.indices.map { (from: call.inputs[$0], bytes: call.type($0).bytes(call.compute.precision)) }
        return Kernel {
            guard var at = output else { return }
            for part in parts {
                if let from = part.from { at.copyMemory(from: from, byteCount: part.bytes) }
                at += part.bytes
            }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try PrimitiveValue.concatenate(inputs.indices.map { try inputs.at($0) }, 0)]
    }
}
