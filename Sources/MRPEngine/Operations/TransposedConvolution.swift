import CMRPKernels

/// Transposed convolution in two dimensions (torch.nn.ConvTranspose2d) on channels-last images: the input gradient of a convolution.
///
/// `rows` and `columns` are the windows of that convolution, from the large image (the output here) to the small one (the input here): a
/// kernel of 4 with stride 2 and padding 1 doubles the size.
///
/// Inputs: x [B, H' W', C], weight [C, O / groups, kernel height, kernel width], bias [O]?, addend (the output's shape)?.
/// Output: [B, H W, O].
public struct TransposedConvolution: Operation {
    let convolution: Convolution

    enum Input {
        static let x = 0
        static let weight = 1
        static let bias = 2
        static let addend = 3
    }

    public init(rows: Window, columns: Window, groups: Int = 1) {
        convolution = Convolution(rows: rows, columns: columns, groups: groups)
    }

    public var name: String { "transposed convolution" }
    public var reusableInputs: [Int] { [Input.addend] }
    public var addendForm: (operation: Operation, index: Int)? { (self, Input.addend) }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        let (rows, columns, groups) = (convolution.rows, convolution.columns, convolution.groups)
        guard inputs.count >= 2, let x = inputs[Input.x], let weight = inputs[Input.weight], x.shape.count == 3, weight.shape.count == 4,
            groups >= 1, x.width % groups == 0, x.shape[1] == rows.outputSize * columns.outputSize,
            weight.shape == [x.width, weight.shape[1], rows.kernel, columns.kernel]
        else { throw shapeError(name, "x and weight do not fit the windows and \(groups) groups") }
        let output = TensorType([x.shape[0], rows.size * columns.size, weight.shape[1] * groups])
        if inputs.count > Input.bias, let bias = inputs[Input.bias], bias.shape != [output.width] {
            throw shapeError(name, "bias of shape \(bias.shape) for \(output.width) channels")
        }
        if inputs.count > Input.addend, let addend = inputs[Input.addend], addend != output {
            throw shapeError(name, "addend of shape \(addend.shape) for an output of shape \(output.shape)")
        }
        return [output]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let x = node.inputs[Input.x], let weight = node.inputs[Input.weight] else {
            return node.noGradients
        }
        var result = [Value?](repeating: nil, count: node.inputs.count)
        if node.wanted[Input.x] { result[Input.x] = try graph.apply(convolution, [gradient, weight])[0] }
        if node.wanted[Input.weight] {
            let operation = ConvolutionGradient(convolution: convolution, wanted: .weight(graph.type(of: weight)))
            result[Input.weight] = try graph.apply(operation, [x, gradient])[0]
        }
        if node.wanted.count > Input.bias, node.wanted[Input.bias] { result[Input.bias] = try graph.apply(ColumnSum(), [gradient])[0] }
        if node.wanted.count > Input.addend, node.wanted[Input.addend] { result[Input.addend] = gradient }
        return result
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (x, y) = (call.type(Input.x), call.outputTypes[0])
        var problem = convolution.problem(call, batch: x.shape[0], channels: y.width, outputs: x.width)
        problem.x = call.outputs[0]
        problem.weight = call.input(Input.weight)
        problem.y = call.input(Input.x)
        problem.bias = call.input(Input.bias).map { UnsafeRawPointer($0) }
        return Convolution.kernel(call, problem, pass: MK_CONV2D_INPUT_GRADIENT)
    }
}

extension TransposedConvolution {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (x, rows, columns) = (try inputs.at(Input.x), convolution.rows, convolution.columns)
        let images = try x.reshape([x.shape[0], rows.outputSize, columns.outputSize, x.width])
        var y = try convolution.inputGradient(images, inputs.at(Input.weight))
        y = try y.reshape([x.shape[0], rows.size * columns.size, y.width])
        if let bias = inputs.optional(Input.bias) { y = try y + bias }
        return [try inputs.optional(Input.addend).map { try y + $0 } ?? y]
    }
}
