import CMRPKernels

/// The same values in another shape. Input: x of as many elements. Output: x as `shape`.
public struct Reshape: Operation {
    let shape: [Int]

    public init(_ shape: [Int]) { self.shape = shape }

    public var name: String { "reshape" }
    public var reusableInputs: [Int] { [0] }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let result = TensorType(shape)
        guard let x = inputs.first ?? nil, x.element == .real, x.count == result.count else {
            throw shapeError(name, "x must have \(result.count) elements")
        }
        return [result]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[0] else { return node.noGradients }
        return [try graph.apply(Reshape(graph.shape(of: x)), [gradient])[0]]
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let bytes = call.outputTypes[0].bytes(call.compute.precision)
        let (x, y) = (call.input(0), call.outputs[0])
        return Kernel {
            if let x, let y, x != y { y.copyMemory(from: x, byteCount: bytes) }
        }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        [try inputs.at(0).reshape(shape)]
    }
}
