import MRPEngine

extension OnnxWalker {
    /// ONNX's names for elementwise primitives: a node, and one that follows it.
    private static let nodes = [
        "negate": "Neg", "exponential": "Exp", "log": "Log", "sqrt": "Sqrt", "rsqrt": "Sqrt Reciprocal", "tanh": "Tanh", "abs": "Abs",
        "sign": "Sign", "erf": "Erf", "add": "Add", "subtract": "Sub", "multiply": "Mul", "divide": "Div", "maximum": "Max",
        "minimum": "Min", "power": "Pow", "and": "And", "or": "Or", "EQ": "Equal", "NE": "Equal Not", "LT": "Less", "GT": "Greater",
        "GE": "GreaterOrEqual",
    ]

    /// The node of a value that is a function of others as a whole; nil: it is not. What defines it is then left out.
    mutating func composite(_ value: Int) throws -> Form? {
        guard let (function, operands) = program.composites[value] else { return nil }
        if case .attention = function { return nil }
        let inputs = try operands.map { try full($0) }
        switch function {
        case .softmax: return Form(rows: (graph.apply("Softmax", inputs, [("axis", .integer(-1))]), shapes[value]))
        case .layerNorm(let epsilon):
            let attributes = [("axis", OnnxGraph.Attribute.integer(-1)), ("epsilon", .float(Float(epsilon)))]
            return Form(rows: (graph.apply("LayerNormalization", inputs, attributes), shapes[value]))
        case .gelu:
            // Opset 17 has no node for it; runtimes know these five.
            let (root, one, half) = try (number(2.0.squareRoot()), number(1), number(0.5))
            let erf = graph.apply("Erf", [graph.apply("Div", [inputs[0], root])])
            let product = graph.apply("Mul", [inputs[0], graph.apply("Add", [erf, one])])
            return Form(rows: (graph.apply("Mul", [product, half]), shapes[value]))
        case .attention: return nil
        }
    }

    /// The nodes of an instruction; nil: ONNX has none for it.
    mutating func form(of instruction: PrimitiveProgram.Instruction) throws -> Form? {
        let (operands, shape) = (instruction.operands, shapes[instruction.result])
        switch instruction.primitive {
        case .constant(let number, let type): return try scalar(number, type.element).map { Form(rows: ($0, [])) }
        case .dense(let tensor, _): return Form(rows: (constant("constant", tensor, shape), shape))
        case .iota, .scatterAdd, .allReduce, .reverse, .pad, .reduceWindow(.minimum, _, _): return nil
        case .convert(let element):
            return try Self.elements[element].map { try elementwise("Cast", operands, [("to", .integer($0.rawValue))]) }
        case .unary(let function): return try elementwise(named: function.rawValue, operands)
        case .binary(.maximum) where numbers[operands[1]] == 0: return try elementwise("Relu", [operands[0]])
        case .binary(let function): return try elementwise(named: function.rawValue, operands)
        case .compare(let comparison): return try elementwise(named: comparison.rawValue, operands)
        case .select: return try elementwise("Where", operands)
        case .reshape: return try reshape(operands[0], to: shape)
        case .transpose(let order): return try transpose(operands[0], order)
        case .broadcastInDim(_, let dimensions): return try broadcast(operands[0], dimensions, rank: shape.count)
        case .slice(let ranges, let strides): return try slice(operands[0], ranges, strides, shape)
        case .concatenate(let axis):
            return Form(rows: (graph.apply("Concat", try operands.map { try full($0) }, [("axis", .integer(axis))]), shape))
        case .gather(let axis):
            return Form(rows: (graph.apply("Gather", try operands.map { try full($0) }, [("axis", .integer(axis))]), shape))
        case .reduce(.sum, let axes):
            let inputs = [try full(operands[0]), try graph.list(axes)]
            return Form(rows: (graph.apply("ReduceSum", inputs, [("keepdims", .integer(0))]), shape))
        case .reduce(let reduction, let axes):
            let name = reduction == .maximum ? "ReduceMax" : "ReduceMin"
            return Form(rows: (graph.apply(name, [try full(operands[0])], [("axes", .integers(axes)), ("keepdims", .integer(0))]), shape))
        case .dotGeneral(let batch, let (left, right)): return try product(operands, batch, left, right, shape)
        case .convolution(let rows, let columns, let groups):
            guard let window = Self.attributes(rows, columns) else { return nil }
            let inputs = [try image(operands[0]), try full(operands[1])]
            return Form(image: (graph.apply("Conv", inputs, window + [("group", .integer(groups))]), [0, 3, 1, 2].map { shape[$0] }))
        case .reduceWindow(.maximum, let rows, let columns):
            guard let window = Self.attributes(rows, columns) else { return nil }
            return Form(image: (graph.apply("MaxPool", [try image(operands[0])], window), [0, 3, 1, 2].map { shape[$0] }))
        case .reduceWindow(.sum, let rows, let columns):
            guard let window = Self.attributes(rows, columns)?.prefix(3), rows.windowDilation * columns.windowDilation == 1 else {
                return nil
            }
            let mean = graph.apply("AveragePool", [try image(operands[0])], window + [("count_include_pad", .integer(1))])
            return Form(image: (graph.apply("Mul", [mean, try number(Double(rows.size * columns.size))]), [0, 3, 1, 2].map { shape[$0] }))
        }
    }

    private static let elements: [PrimitiveElement: OnnxGraph.Element] = [.f32: .float, .i32: .int32, .i1: .bool]

    private mutating func number(_ number: Double) throws -> String { try graph.constant("number", .float, [], [Float(number)]) }

    private mutating func scalar(_ number: Double, _ element: PrimitiveElement) throws -> String? {
        switch element {
        case .f32: try self.number(number)
        case .i32: try graph.constant("number", .int32, [], [Int32(number)])
        case .i1, .f64: nil
        }
    }

    private mutating func elementwise(named primitive: String, _ operands: [Int]) throws -> Form? {
        guard let names = Self.nodes[primitive]?.split(separator: " ") else { return nil }
        return try names.dropFirst().reduce(elementwise(String(names[0]), operands)) { form, name in
            Form(
                rows: form.rows.map { (graph.apply(String(name), [$0.name]), $0.shape) },
                image: form.image.map { (graph.apply(String(name), [$0.name]), $0.shape) })
        }
    }

    /// Elementwise nodes align the last dimensions, so numbers that repeat along the first ones stay as they are.
    private mutating func broadcast(_ value: Int, _ dimensions: [Int], rank: Int) throws -> Form {
        let rows = try rows(value)
        guard dimensions != Array((rank - dimensions.count)..<rank), !rows.shape.isEmpty else { return Form(rows: rows) }
        var shape = [Int](repeating: 1, count: rank)
        for (size, dimension) in zip(rows.shape.reversed(), dimensions.reversed()) { shape[dimension] = size }
        return Form(rows: (try reshape(rows.name, rows.shape, to: shape), shape))
    }

    private mutating func slice(_ value: Int, _ ranges: [Range<Int>], _ strides: [Int], _ shape: [Int]) throws -> Form? {
        let axes = ranges.indices.filter { ranges[$0].count != program.types[value].shape[$0] || strides[$0] != 1 }
        guard axes.allSatisfy({ shapes[value][$0] > 0 }) else { return nil }
        let bounds = [axes.map { ranges[$0].lowerBound }, axes.map { ranges[$0].upperBound }, axes, axes.map { strides[$0] }]
        return Form(rows: (graph.apply("Slice", [try full(value)] + (try bounds.map { try graph.list($0) })), shape))
    }

    /// MatMul of [batch, rows, k] and [batch, k, columns], without a batch of [..., k] and [k, columns].
    private mutating func product(_ operands: [Int], _ batch: Int, _ left: Int, _ right: Int, _ shape: [Int]) throws -> Form? {
        let rows = shapes[operands[0]].indices.filter { $0 != left }
        let columns = shapes[operands[1]].indices.filter { $0 >= batch && $0 != right }
        guard columns.count == 1, batch == 0 || rows.count == batch + 1 else { return nil }
        let x = transpose(try full(operands[0]), rows + [left])
        let y = transpose(try full(operands[1]), Array(0..<batch) + [right] + columns)
        return Form(rows: (graph.apply("MatMul", [x, y]), shape))
    }

    /// Nil: ONNX has no such window.
    private static func attributes(_ rows: PrimitiveWindow, _ columns: PrimitiveWindow) -> [(String, OnnxGraph.Attribute)]? {
        let windows = [rows, columns]
        guard windows.allSatisfy({ $0.baseDilation == 1 && $0.low >= 0 && $0.high >= 0 }) else { return nil }
        return [
            ("kernel_shape", .integers(windows.map(\.size))), ("strides", .integers(windows.map(\.stride))),
            ("pads", .integers(windows.map(\.low) + windows.map(\.high))), ("dilations", .integers(windows.map(\.windowDilation))),
        ]
    }
}
