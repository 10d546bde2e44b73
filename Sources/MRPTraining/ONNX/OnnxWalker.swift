import MRPEngine
import MRPModels

/// Turns a program of primitives into an ONNX graph, instruction by instruction. In shapes, negative sizes are multiples of the batch.
///
/// A value is kept in the form in which it was made, and brought into another one only for a node that needs it: repeated numbers are not
/// repeated for elementwise nodes, and images stay channels-first, as convolutions want them, from one convolution to the next.
struct OnnxWalker {
    /// At least one of the two forms is there.
    struct Form {
        /// Row-major. Sizes may be missing in front, or be 1, where numbers are repeated.
        var rows: (name: String, shape: [Int])?
        /// The numbers of [batch, height, width, channels], or of the same with other dimensions, as [batch, channels, height, width].
        var image: (name: String, shape: [Int])?
    }

    let program: PrimitiveProgram
    let shapes: [[Int]]
    private let model: Model
    var graph = OnnxGraph()
    private var forms: [Int: Form] = [:]
    /// Constants that are one number, by the number of the value.
    private(set) var numbers: [Int: Double] = [:]
    private var images = ""

    init(_ program: PrimitiveProgram, shapes: [[Int]], _ model: Model) {
        (self.program, self.shapes, self.model) = (program, shapes, model)
    }

    mutating func walk() throws {
        for argument in program.arguments { forms[argument.value] = Form(rows: (try input(argument), shapes[argument.value])) }
        for instruction in program.instructions {
            if case .constant(let number, _) = instruction.primitive { numbers[instruction.result] = number }
            guard let form = try composite(instruction.result) ?? form(of: instruction) else {
                throw MRPError(.unsupported, "export to ONNX: the operation '\(instruction.operation)' has no form in ONNX")
            }
            forms[instruction.result] = form
        }
    }

    mutating func output(_ value: Int, as name: String) throws {
        guard shapes[value].first == -1 else { throw MRPError(.unsupported, "export to ONNX: '\(name)' is not one value for each image") }
        graph.output(try full(value), as: name, Array(shapes[value].dropFirst()))
    }

    // MARK: Inputs

    /// A weight, or the images, standardised as the model was trained.
    private mutating func input(_ argument: PrimitiveProgram.Argument) throws -> String {
        switch argument.source {
        case .bound(let name):
            guard let tensor = model.parameters[name] else { throw MRPError(.state, "the model has no weight named '\(name)'") }
            return constant(name, tensor, shapes[argument.value])
        case .input(Inputs.imagesName):
            images = graph.input(Inputs.imagesName, model.encoder.geometry.imageShape)
            guard let normalization = model.normalization else { return images }
            let shape = [1, model.encoder.geometry.channels, 1, 1]
            let mean = try graph.constant("mean", .float, shape, normalization.mean.map { Float($0) })
            let std = try graph.constant("std", .float, shape, normalization.std.map { Float($0) })
            return graph.apply("Div", [graph.apply("Sub", [images, mean]), std])
        case .input(let name): throw MRPError(.unsupported, "export to ONNX: the network has the input '\(name)' beside its images")
        case .host: throw MRPError(.unsupported, "export to ONNX: the network needs lists that only this library computes")
        }
    }

    mutating func constant(_ name: String, _ tensor: Tensor, _ shape: [Int]) -> String {
        let data = UnsafeRawBufferPointer(start: tensor.memory, count: tensor.bytes)
        return graph.constant(name, tensor.type.element == .int32 ? .int32 : .float, shape, data, keeping: tensor)
    }

    // MARK: Forms of values

    /// Row-major, numbers not repeated.
    mutating func rows(_ value: Int) throws -> (name: String, shape: [Int]) {
        if let rows = forms[value]?.rows { return rows }
        guard let image = forms[value]?.image else { throw MRPError(.internalError, "export to ONNX: a value is read before it is made") }
        let last = [0, 2, 3, 1].map { image.shape[$0] }
        let rows = (try reshape(transpose(image.name, [0, 2, 3, 1]), last, to: shapes[value]), shapes[value])
        forms[value]?.rows = rows
        return rows
    }

    /// Row-major and complete.
    mutating func full(_ value: Int) throws -> String {
        let (name, shape) = try rows(value)
        guard shape != shapes[value] else { return name }
        let sizes = try shapes[value].map { size in
            guard size < 0 else { return try graph.list([size]) }
            let batch = graph.apply("Shape", [images], [("start", .integer(0)), ("end", .integer(1))])
            return graph.apply("Mul", [batch, try graph.list([-size])])
        }
        let expanded = graph.apply("Expand", [name, graph.apply("Concat", sizes, [("axis", .integer(0))])])
        forms[value]?.rows = (expanded, shapes[value])
        return expanded
    }

    /// Images [batch, height, width, channels] channels-first.
    mutating func image(_ value: Int) throws -> String {
        if let image = forms[value]?.image { return image.name }
        let name = transpose(try full(value), [0, 3, 1, 2])
        forms[value]?.image = (name, [0, 3, 1, 2].map { shapes[value][$0] })
        return name
    }

    /// The channels-first form if the value has these images; nil: another one has none, unless it is a number or a number for each channel.
    private mutating func channelsFirst(_ value: Int, _ shape: [Int]) throws -> String? {
        if let image = forms[value]?.image { return image.shape == shape ? image.name : nil }
        guard let rows = forms[value]?.rows, rows.shape.isEmpty || rows.shape == [shape[1]] else { return nil }
        return rows.shape.isEmpty ? rows.name : try reshape(rows.name, rows.shape, to: [shape[1], 1, 1])
    }

    /// An elementwise node, channels-first if an operand is and the others can be.
    mutating func elementwise(_ operation: String, _ operands: [Int], _ attributes: [(String, OnnxGraph.Attribute)] = []) throws -> Form {
        if let shape = operands.compactMap({ forms[$0]?.image?.shape }).first {
            let names = try operands.compactMap { try channelsFirst($0, shape) }
            if names.count == operands.count { return Form(image: (graph.apply(operation, names, attributes), shape)) }
        }
        let inputs = try operands.map { try rows($0) }
        let rank = inputs.map(\.shape.count).max() ?? 0
        let shape = (0..<rank).map { axis in
            inputs.compactMap { $0.shape.count + axis < rank ? nil : $0.shape[$0.shape.count + axis - rank] }.first { $0 != 1 } ?? 1
        }
        return Form(rows: (graph.apply(operation, inputs.map(\.name), attributes), shape))
    }

    // MARK: Shapes

    mutating func transpose(_ name: String, _ order: [Int]) -> String {
        order == Array(order.indices) ? name : graph.apply("Transpose", [name], [("perm", .integers(order))])
    }

    mutating func reshape(_ name: String, _ from: [Int], to shape: [Int]) throws -> String {
        from == shape ? name : graph.apply("Reshape", [name, try graph.list(shape.map { max($0, -1) })])
    }

    /// A value with other dimensions.
    mutating func reshape(_ value: Int, to shape: [Int]) throws -> Form {
        if let image = forms[value]?.image {
            let sizes = [0, 2, 3, 1].map { image.shape[$0] }
            if shape == sizes || shape == [sizes[0], sizes[1] * sizes[2], sizes[3]] { return Form(image: image) }
        }
        if let rows = forms[value]?.rows, rows.shape.isEmpty { return Form(rows: rows) }
        return Form(rows: (try reshape(full(value), shapes[value], to: shape), shape))
    }

    /// A value with its dimensions exchanged; where that moves channels to the end, it is an image.
    mutating func transpose(_ value: Int, _ order: [Int]) throws -> Form {
        let (name, from) = (try full(value), shapes[value])
        let large = order.filter { from[$0] != 1 }
        let sizes = large.sorted().map { from[$0] }
        if large.count == 4, large == [0, 2, 3, 1].map({ large.sorted()[$0] }), sizes[0] == -1 {
            return Form(image: (try reshape(name, from, to: sizes), sizes))
        }
        return Form(rows: (transpose(name, order), order.map { from[$0] }))
    }
}
