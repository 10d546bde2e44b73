import CMRPKernels

/// Convolution in two dimensions (cross-correlation, as in torch.nn.Conv2d) on channels-last images.
///
/// Inputs: x [B, H W, C], weight [O, C / groups, kernel height, kernel width], bias [O]?, addend (the output's shape)?, the places of input
/// and output (`VisiblePlaces`)? for tensors of visible positions, and scale [O]?, a factor of the sum before bias and addend.
/// Output: [B, H' W', O], or [B, K', O] of visible positions. Hidden positions count as zero and cost no time.
///
/// Scale and activation come from a frozen norm (`Graph.frozenBatchNorm`); with either it has no gradient.
public struct Convolution: Operation {
    public let rows: Window
    public let columns: Window
    public let groups: Int
    /// Applied last, after bias and addend.
    public let activation: BatchNorm.Activation

    enum Input {
        static let x = 0
        static let weight = 1
        static let bias = 2
        static let addend = 3
        static let places = PlaceInputs(first: 4)
        static let scale = 8
        static let count = 9
    }

    public init(rows: Window, columns: Window, groups: Int = 1, activation: BatchNorm.Activation = .none) {
        self.rows = rows
        self.columns = columns
        self.groups = groups
        self.activation = activation
    }

    public static func inputs(
        _ x: Value, weight: Value, bias: Value? = nil, addend: Value? = nil, from: VisiblePlaces? = nil, to: VisiblePlaces? = nil
    ) -> [Value?] {
        [x, weight, bias, addend] + PlaceInputs.values(from, to)
    }

    public var name: String { "convolution" }
    public var reusableInputs: [Int] { [Input.addend] }
    public var addendForm: (operation: Operation, index: Int)? { activation == .none ? (self, Input.addend) : nil }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count >= 2, let x = inputs[Input.x], let weight = inputs[Input.weight], x.shape.count == 3, weight.shape.count == 4
        else { throw shapeError(name, "needs x [batch, positions, channels] and weight [out, in, height, width]") }
        let (batch, out) = (x.shape[0], weight.shape[0])
        let from = try Input.places.rows(inputs, at: 0, height: rows.size, width: columns.size, batch: batch, name)
        let to = try Input.places.rows(inputs, at: 2, height: rows.outputSize, width: columns.outputSize, batch: batch, name)
        guard groups >= 1, x.width % groups == 0, out % groups == 0, x.shape[1] == from,
            weight.shape == [out, x.width / groups, rows.kernel, columns.kernel]
        else { throw shapeError(name, "x \(x.shape) and weight \(weight.shape) do not fit \(from) positions, \(groups) groups") }
        for index in [Input.bias, Input.scale] where index < inputs.count {
            guard let given = inputs[index], given.shape != [out] else { continue }
            throw shapeError(name, "\(index == Input.bias ? "bias" : "scale") of shape \(given.shape) for \(out) channels")
        }
        if inputs.count > Input.addend, let addend = inputs[Input.addend], addend.shape != [batch, to, out] {
            throw shapeError(name, "addend of shape \(addend.shape) for an output of shape \([batch, to, out])")
        }
        return [TensorType([batch, to, out])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard activation == .none, node.inputs.count <= Input.scale || node.inputs[Input.scale] == nil else {
            throw MRPError(.unsupported, "a convolution that holds a frozen norm has no gradient")
        }
        guard let gradient = outputGradients[0], let x = node.inputs[Input.x], let weight = node.inputs[Input.weight] else {
            return node.noGradients
        }
        let first = Input.places.first
        let places = (first..<(first + 4)).map { $0 < node.inputs.count ? node.inputs[$0] : nil }
        var result = [Value?](repeating: nil, count: node.inputs.count)
        if node.wanted[Input.x] {
            let operation = ConvolutionGradient(convolution: self, wanted: .input(graph.type(of: x)))
            result[Input.x] = try graph.apply(operation, [gradient, weight, nil, nil] + places)[0]
        }
        if node.wanted[Input.weight] {
            let operation = ConvolutionGradient(convolution: self, wanted: .weight(graph.type(of: weight)))
            result[Input.weight] = try graph.apply(operation, [gradient, x, nil, nil] + places)[0]
        }
        if node.wanted.count > Input.bias, node.wanted[Input.bias] { result[Input.bias] = try graph.apply(ColumnSum(), [gradient])[0] }
        if node.wanted.count > Input.addend, node.wanted[Input.addend] { result[Input.addend] = gradient }
        return result
    }

    func problem(_ call: KernelCall, batch: Int, channels: Int, outputs: Int) -> mk_conv2d {
        var problem = mk_conv2d()
        problem.batch = Int64(batch)
        problem.channels = Int64(channels)
        problem.out_channels = Int64(outputs)
        problem.groups = Int64(groups)
        problem.direct = call.compute.convolvesDirectly ? 1 : 0
        problem.rows = rows.problem
        problem.columns = columns.problem
        problem.in = Input.places.places(call, at: 0, height: rows.size, width: columns.size, batch: batch)
        problem.out = Input.places.places(call, at: 2, height: rows.outputSize, width: columns.outputSize, batch: batch)
        problem.addend = call.input(Input.addend).map { UnsafeRawPointer($0) }
        return problem
    }

    static func kernel(_ call: KernelCall, _ problem: mk_conv2d, pass: Int) -> Kernel {
        let (pool, run, pass) = (call.pool, call.kernels.conv2d, Int32(pass))
        return Kernel(scratch: withUnsafePointer(to: problem) { call.kernels.conv2d_scratch($0, pass) }) {
            withUnsafePointer(to: problem) { run(pool, $0, pass) }
        }
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (x, y) = (call.type(Input.x), call.outputTypes[0])
        var problem = problem(call, batch: x.shape[0], channels: x.width, outputs: y.width)
        problem.x = call.input(Input.x)
        problem.weight = call.input(Input.weight)
        problem.y = call.outputs[0]
        problem.bias = call.input(Input.bias).map { UnsafeRawPointer($0) }
        problem.scale = call.input(Input.scale).map { UnsafeRawPointer($0) }
        problem.relu = activation.rawValue
        return Self.kernel(call, problem, pass: MK_CONV2D_FORWARD)
    }
}

/// Inputs: dy, then weight (for dx) or x (for dweight), nil, addend of dx?, places. Output: dx (+ addend) or dweight.
struct ConvolutionGradient: Operation {
    enum Wanted {
        case input(TensorType)
        case weight(TensorType)
    }

    let convolution: Convolution
    let wanted: Wanted

    private var isInput: Bool { if case .input = wanted { true } else { false } }

    var name: String { "convolution gradient" }
    var reusableInputs: [Int] { isInput ? [Convolution.Input.addend] : [] }
    var addendForm: (operation: Operation, index: Int)? { isInput ? (self, Convolution.Input.addend) : nil }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        switch wanted {
        case .input(let type), .weight(let type): return [type]
        }
    }

    func kernel(_ call: KernelCall) -> Kernel {
        let dy = call.type(0)
        let x = isInput ? call.outputTypes[0] : call.type(1)
        var problem = convolution.problem(call, batch: dy.shape[0], channels: x.width, outputs: dy.width)
        problem.x = isInput ? call.outputs[0] : call.input(1)
        problem.weight = isInput ? call.input(1) : call.outputs[0]
        problem.y = call.input(0)
        return Convolution.kernel(call, problem, pass: isInput ? MK_CONV2D_INPUT_GRADIENT : MK_CONV2D_WEIGHT_GRADIENT)
    }
}

extension PlaceInputs {
    /// The rows of x as images [B, H, W, C], with `fill` where nothing is; `index` as in `places`.
    func images(
        _ x: PrimitiveValue, _ inputs: [PrimitiveValue?], at index: Int, _ height: Int, _ width: Int, fill: Double = 0
    ) throws -> PrimitiveValue {
        let shape = [x.shape[0], height, width, x.width]
        guard let rows = inputs.optional(first + index + 1) else { return try x.reshape(shape) }
        let filling = try x.program.constant(fill, [x.width], x.element)
        return try x.reshape([1, x.rows, x.width]).gatheredRows(rows.reshape([rows.type.count]), else: filling).reshape(shape)
    }

    /// The positions of images that are there: [B, K, C].
    func rows(_ images: PrimitiveValue, _ inputs: [PrimitiveValue?], at index: Int) throws -> PrimitiveValue {
        guard let positions = inputs.optional(first + index) else {
            return try images.reshape([images.shape[0], images.shape[1] * images.shape[2], images.width])
        }
        return try images.program.apply(.gather(dimension: 0), [images.matrix(), positions])
    }
}

extension Window {
    var primitive: PrimitiveWindow { PrimitiveWindow(kernel, stride: stride, low: padding, high: padding, windowDilation: dilation) }

    /// The sums to which an element of the input contributes: a window over the output, spread by the stride.
    var inputGradient: PrimitiveWindow {
        let reach = dilation * (kernel - 1)
        let spread = (outputSize - 1) * stride + 1
        return PrimitiveWindow(
            kernel, low: reach - padding, high: size - spread + padding, baseDilation: stride, windowDilation: dilation)
    }

    /// The gradient of the output as a kernel over the input, one position for each tap.
    var weightGradient: PrimitiveWindow {
        let spread = (outputSize - 1) * stride + 1
        return PrimitiveWindow(
            outputSize, stride: dilation, low: padding, high: dilation * (kernel - 1) + spread - size - padding, windowDilation: stride)
    }
}

extension Convolution {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let x = try Input.places.images(inputs.at(Input.x), inputs, at: 0, rows.size, columns.size)
        let images = try x.convolve(inputs.at(Input.weight), rows.primitive, columns.primitive, groups: groups)
        var y = try Input.places.rows(images, inputs, at: 2)
        if let scale = inputs.optional(Input.scale) { y = try y * scale }
        if let bias = inputs.optional(Input.bias) { y = try y + bias }
        if let addend = inputs.optional(Input.addend) { y = try y + addend }
        return [try y.activated(activation)]
    }

    /// From dy as images [B, H', W', O] to dx [B, H, W, C]: the convolution with the weights turned round and exchanged.
    func inputGradient(_ dy: PrimitiveValue, _ weight: PrimitiveValue) throws -> PrimitiveValue {
        let shape = weight.shape
        let turned = try weight.reshape([groups, shape[0] / groups] + shape[1...]).transpose([0, 2, 1, 3, 4])
            .reshape([groups * shape[1], shape[0] / groups, shape[2], shape[3]]).reverse([2, 3])
        return try dy.convolve(turned, rows.inputGradient, columns.inputGradient, groups: groups)
    }

    /// From images x and dy to dweight [O, C / groups, h, w]: a convolution over the batch, channels in the place of images.
    func weightGradient(_ x: PrimitiveValue, _ dy: PrimitiveValue) throws -> PrimitiveValue {
        let (batch, height, width, depth) = (x.shape[0], x.shape[1], x.shape[2], x.width / groups)
        let channels = try x.reshape([batch, height, width, groups, depth]).transpose([4, 1, 2, 3, 0])
            .reshape([depth, height, width, groups * batch])
        return try channels.convolve(dy.transpose([3, 0, 1, 2]), rows.weightGradient, columns.weightGradient, groups: groups)
            .transpose([3, 0, 1, 2])
    }
}

extension ConvolutionGradient {
    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let (places, rows, columns) = (Convolution.Input.places, convolution.rows, convolution.columns)
        let dy = try places.images(inputs.at(0), inputs, at: 2, rows.outputSize, columns.outputSize)
        guard isInput else {
            return [try convolution.weightGradient(places.images(inputs.at(1), inputs, at: 0, rows.size, columns.size), dy)]
        }
        let dx = try places.rows(convolution.inputGradient(dy, inputs.at(1)), inputs, at: 0)
        return [try inputs.optional(Convolution.Input.addend).map { try dx + $0 } ?? dx]
    }
}
