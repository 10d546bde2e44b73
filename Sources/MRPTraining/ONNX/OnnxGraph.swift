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

    private var nodes: [Protobuf] = []
    private var constants: [Protobuf] = []
    private var inputs: [Protobuf] = []
    private var outputs: [Protobuf] = []
    /// Memory that the messages refer to.
    private var kept: [AnyObject] = []
    private var names: [String: Int] = [:]

    /// A name that nothing else has.
    private mutating func unique(_ base: String) -> String {
        let number = names[base, default: 0]
        names[base] = number + 1
        return number == 0 ? base : "\(base)_\(number)"
    }

    // MARK: Values

    /// A tensor of float32 under a name of ours. `keeping` owns the memory.
    mutating func constant(_ name: String, _ shape: [Int], _ data: UnsafeRawBufferPointer, keeping owner: AnyObject) -> String {
        let name = unique(name)
        kept.append(owner)
        var tensor = Self.tensor(name, shape, type: 1)
        tensor.memory(9, data)
        constants.append(tensor)
        return name
    }

    mutating func constant(_ name: String, _ values: [Float], shape: [Int]) throws -> String {
        let bytes = try Memory(bytes: 4 * values.count, for: "a constant")
        values.withUnsafeBytes { bytes.raw.copyMemory(from: $0) }
        return constant(name, shape, UnsafeRawBufferPointer(bytes.raw), keeping: bytes)
    }

    /// A list of 64-bit integers, such as a shape.
    mutating func constant(_ name: String, _ values: [Int]) throws -> String {
        let name = unique(name)
        let bytes = try Memory(bytes: 8 * values.count, for: "a constant")
        for (index, value) in values.enumerated() {
            bytes.raw.storeBytes(of: Int64(value).littleEndian, toByteOffset: 8 * index, as: Int64.self)
        }
        kept.append(bytes)
        var tensor = Self.tensor(name, [values.count], type: 7)
        tensor.memory(9, UnsafeRawBufferPointer(bytes.raw))
        constants.append(tensor)
        return name
    }

    /// TensorProto: dims 1, data_type 2 (1 float, 7 int64), name 8, raw_data 9.
    private static func tensor(_ name: String, _ shape: [Int], type: Int) -> Protobuf {
        var tensor = Protobuf()
        for size in shape { tensor.integer(1, size) }
        tensor.integer(2, type)
        tensor.text(8, name)
        return tensor
    }

    /// ValueInfoProto: name 1, type 2; float tensors whose first dimension is the batch.
    private static func valueInfo(_ name: String, _ shape: [Int]) -> Protobuf {
        var dimensions = Protobuf()
        var batch = Protobuf()
        batch.text(2, "batch")
        dimensions.message(1, batch)
        for size in shape {
            var dimension = Protobuf()
            dimension.integer(1, size)
            dimensions.message(1, dimension)
        }
        var tensorType = Protobuf()
        tensorType.integer(1, 1)
        tensorType.message(2, dimensions)
        var type = Protobuf()
        type.message(1, tensorType)
        var info = Protobuf()
        info.text(1, name)
        info.message(2, type)
        return info
    }

    /// An input [batch] + shape.
    mutating func input(_ name: String, _ shape: [Int]) -> String {
        inputs.append(Self.valueInfo(name, shape))
        return unique(name)
    }

    /// Makes a value an output [batch] + shape, under the given name.
    mutating func output(_ value: String, as name: String, _ shape: [Int]) {
        outputs.append(Self.valueInfo(name, shape))
        var node = Protobuf()
        node.text(1, value)
        node.text(2, name)
        node.text(4, "Identity")
        nodes.append(node)
    }

    // MARK: Nodes

    /// NodeProto: input 1, output 2, name 3, op_type 4, attribute 5. Returns the name of its output.
    mutating func apply(_ operation: String, _ inputs: [String], _ attributes: [(String, Attribute)] = []) -> String {
        var node = Protobuf()
        for input in inputs { node.text(1, input) }
        let output = unique(operation)
        node.text(2, output)
        node.text(3, output)
        node.text(4, operation)
        for (name, value) in attributes {
            var attribute = Protobuf()
            attribute.text(1, name)
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
        nodes.append(node)
        return output
    }

    // MARK: The file

    /// ModelProto: ir_version 1, producer_name 2, graph 7, opset_import 8. GraphProto: node 1, name 2, initializer 5, input 11, output 12.
    func write(to path: String, name: String) throws {
        var graph = Protobuf()
        for node in nodes { graph.message(1, node) }
        graph.text(2, name)
        for constant in constants { graph.message(5, constant) }
        for input in inputs { graph.message(11, input) }
        for output in outputs { graph.message(12, output) }
        var opset = Protobuf()
        opset.text(1, "")
        opset.integer(2, Self.opset)
        var model = Protobuf()
        model.integer(1, 8)
        model.text(2, "libmrp")
        model.message(7, graph)
        model.message(8, opset)
        guard model.count <= Self.largestFile else {
            throw MRPError(.argument, "the ONNX file would have \(model.count) bytes, at most \(Self.largestFile) are possible")
        }
        var owned: [Memory] = []
        var pieces: [UnsafeRawBufferPointer] = []
        for piece in model.pieces {
            switch piece {
            case .memory(let memory): pieces.append(memory)
            case .bytes(let bytes):
                let copy = try Memory(bytes: bytes.count, for: "a file")
                copy.raw.copyBytes(from: bytes)
                owned.append(copy)
                pieces.append(UnsafeRawBufferPointer(copy.raw))
            }
        }
        try FileSystem.replace(path, with: pieces)
        withExtendedLifetime((owned, kept)) {}
    }
}
