import MRPEngine

/// A graph in the Open Neural Network Exchange format, built node by node. The field numbers are those of onnx.proto (IR version 8).
struct OnnxGraph {
    static let opset = 17
    static let largestFile = 1 << 31 - 1

    enum Attribute {
        case integer(Int)
        case integers([Int])
        case float(Float)
    }

    /// Numbers of element types.
    enum Element: Int {
        case float = 1
        case int32 = 6
        case int64 = 7
        case bool = 9
    }

    private var nodes: [(inputs: [String], output: String, message: Protobuf)] = []
    private var constants: [(name: String, message: Protobuf)] = []
    private var inputs: [Protobuf] = []
    private var outputs: [(name: String, message: Protobuf)] = []
    /// Memory that the messages refer to.
    private var kept: [AnyObject] = []
    private var names: [String: Int] = [:]
    /// Names of small constants by what they hold.
    private var known: [String: String] = [:]

    /// A name that nothing else has.
    private mutating func unique(_ base: String) -> String {
        names[base, default: -1] += 1
        return names[base].map { $0 == 0 ? base : "\(base)_\($0)" } ?? base
    }

    // MARK: Values

    /// A tensor under a name of ours. `keeping` owns the memory. TensorProto: dims 1, data_type 2, name 8, raw_data 9.
    mutating func constant(
        _ name: String, _ element: Element, _ shape: [Int], _ data: UnsafeRawBufferPointer, keeping owner: AnyObject
    ) -> String {
        let name = unique(name)
        kept.append(owner)
        let tensor = Protobuf { tensor in
            for size in shape { tensor.integer(1, size) }
            tensor.integer(2, element.rawValue)
            tensor.text(8, name)
            tensor.memory(9, data)
        }
        constants.append((name, tensor))
        return name
    }

    /// A small tensor; the same numbers are stored once.
    mutating func constant<Number: Numeric>(_ name: String, _ element: Element, _ shape: [Int], _ numbers: [Number]) throws -> String {
        let key = "\(element) \(shape) \(numbers)"
        if let name = known[key] { return name }
        let bytes = try Memory(bytes: MemoryLayout<Number>.stride * numbers.count, for: "a constant")
        numbers.withUnsafeBytes { bytes.raw.copyMemory(from: $0) }
        known[key] = constant(name, element, shape, UnsafeRawBufferPointer(bytes.raw), keeping: bytes)
        return known[key] ?? name
    }

    /// A list of 64-bit integers, such as a shape.
    mutating func list(_ numbers: [Int]) throws -> String { try constant("list", .int64, [numbers.count], numbers.map(Int64.init)) }

    /// Floats [batch] + shape. ValueInfoProto: name 1, type 2.
    private static func valueInfo(_ name: String, _ shape: [Int]) -> Protobuf {
        let dimensions = Protobuf { dimensions in
            dimensions.message(1, Protobuf { $0.text(2, "batch") })
            for size in shape { dimensions.message(1, Protobuf { $0.integer(1, size) }) }
        }
        let tensor = Protobuf { tensor in
            tensor.integer(1, Element.float.rawValue)
            tensor.message(2, dimensions)
        }
        return Protobuf { info in
            info.text(1, name)
            info.message(2, Protobuf { $0.message(1, tensor) })
        }
    }

    /// An input [batch] + shape.
    mutating func input(_ name: String, _ shape: [Int]) -> String {
        inputs.append(Self.valueInfo(name, shape))
        return unique(name)
    }

    /// Makes a value an output [batch] + shape, under the given name.
    mutating func output(_ value: String, as name: String, _ shape: [Int]) {
        outputs.append((name, Self.valueInfo(name, shape)))
        append("Identity", [value], name, [])
    }

    // MARK: Nodes

    /// Appends a node; returns the name of its output.
    mutating func apply(_ operation: String, _ inputs: [String], _ attributes: [(String, Attribute)] = []) -> String {
        let output = unique(operation)
        append(operation, inputs, output, attributes)
        return output
    }

    /// NodeProto: input 1, output 2, name 3, op_type 4, attribute 5. AttributeProto: name 1, f 2, i 3, ints 8, type 20.
    private mutating func append(_ operation: String, _ inputs: [String], _ output: String, _ attributes: [(String, Attribute)]) {
        let node = Protobuf { node in
            for input in inputs { node.text(1, input) }
            node.text(2, output)
            node.text(3, output)
            node.text(4, operation)
            for (name, value) in attributes {
                var attribute = Protobuf { $0.text(1, name) }
                switch value {
                case .float(let number):
                    attribute.float(2, number)
                    attribute.integer(20, 1)
                case .integer(let number):
                    attribute.integer(3, number)
                    attribute.integer(20, 2)
                case .integers(let numbers):
                    for number in numbers { attribute.integer(8, number) }
                    attribute.integer(20, 7)
                }
                node.message(5, attribute)
            }
        }
        nodes.append((inputs, output, node))
    }

    // MARK: The file

    /// ModelProto: ir_version 1, producer_name 2, graph 7, opset_import 8. GraphProto: node 1, name 2, initializer 5, input 11, output 12. What
    /// no output needs is left out.
    func write(to path: String, name: String) throws {
        var needed = Set(outputs.map(\.name))
        for node in nodes.reversed() where needed.contains(node.output) { needed.formUnion(node.inputs) }
        let graph = Protobuf { graph in
            for node in nodes where needed.contains(node.output) { graph.message(1, node.message) }
            graph.text(2, name)
            for constant in constants where needed.contains(constant.name) { graph.message(5, constant.message) }
            for input in inputs { graph.message(11, input) }
            for output in outputs { graph.message(12, output.message) }
        }
        let opset = Protobuf { opset in
            opset.text(1, "")
            opset.integer(2, Self.opset)
        }
        let model = Protobuf { model in
            model.integer(1, 8)
            model.text(2, "libmrp")
            model.message(7, graph)
            model.message(8, opset)
        }
        guard model.count <= Self.largestFile else {
            throw MRPError(.argument, "the ONNX file would have \(model.count) bytes, at most \(Self.largestFile) are possible")
        }
        var owned: [Memory] = []
        let pieces = try model.pieces.map { piece in
            switch piece {
            case .memory(let memory): return memory
            case .bytes(let bytes):
                let copy = try Memory(bytes: bytes.count, for: "a file")
                copy.raw.copyBytes(from: bytes)
                owned.append(copy)
                return UnsafeRawBufferPointer(copy.raw)
            }
        }
        try FileSystem.replace(path, with: pieces)
        withExtendedLifetime((owned, kept)) {}
    }
}
