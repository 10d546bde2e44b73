/// A value of a graph: an input, a bound tensor, a constant, or an output of a node. Meaningful only in the graph that made it.
public struct Value: Hashable, Sendable {
    /// Its place in the order of making.
    public let id: Int
}

/// A static graph of typed values and operations, for one batch size. Nodes are stored in an order in which they can run.
///
/// Model and objective build it once; `gradients` adds the backward pass; a `Backend` compiles it.
public final class Graph {
    /// Source of a value.
    public enum Origin {
        case input(String)
        case bound(String)
        case constant(Tensor)
        case node(Int, output: Int)
    }

    public struct Node {
        public internal(set) var operation: Operation
        public internal(set) var inputs: [Value?]
        public internal(set) var outputs: [Value]
    }

    /// Types and origins by the id of a value.
    public private(set) var types: [TensorType] = []
    public private(set) var origins: [Origin] = []
    public private(set) var nodes: [Node] = []
    /// Declarations of the inputs, in the order of making.
    public private(set) var inputs: [GraphInput] = []
    private var boundByName: [String: Value] = [:]
    /// Names that were declared with two types.
    private var conflicts: [String] = []
    private var inputByName: [String: Value] = [:]
    /// Nodes whose values may be computed again for the gradients instead of being kept.
    private(set) var segments: [Range<Int>] = []

    /// Values for reports, by name.
    public private(set) var marks: [String: Value] = [:]

    public init() {}

    /// Names a value for reports, for example the features that a trainer watches for collapse.
    public func mark(_ value: Value, as name: String) { marks[name] = value }

    /// Makes the nodes that `body` appends a segment: differentiation may keep its inputs only and compute the rest again.
    public func segment<Result>(_ body: () throws -> Result) rethrows -> Result {
        let first = nodes.count
        let result = try body()
        if nodes.count > first { segments.append(first..<nodes.count) }
        return result
    }

    public func type(of value: Value) -> TensorType { types[value.id] }
    public func shape(of value: Value) -> [Int] { types[value.id].shape }

    /// A tensor that is filled before each run. The same name gives the same value.
    public func input(_ name: String, _ type: TensorType, filledBy source: GraphInput.Source = .host) -> Value {
        if let known = inputByName[name] { return same(known, name, type) }
        let value = newValue(type, .input(name))
        inputByName[name] = value
        inputs.append(GraphInput(name: name, type: type, source: source))
        return value
    }

    /// A tensor that lives outside the graph (a weight, an optimiser moment), found by name when the graph is compiled.
    public func bound(_ name: String, _ type: TensorType) -> Value {
        if let known = boundByName[name] { return same(known, name, type) }
        let value = newValue(type, .bound(name))
        boundByName[name] = value
        return value
    }

    /// A fixed tensor, for example an index list shared by all images.
    public func constant(_ tensor: Tensor) -> Value { newValue(tensor.type, .constant(tensor)) }

    public func constant(indices: [Int32]) throws -> Value {
        let tensor = try Tensor(TensorType([indices.count], .int32))
        for (index, value) in indices.enumerated() { tensor.int32[index] = value }
        return constant(tensor)
    }

    /// Appends a node; optional inputs of the operation are nil when absent.
    @discardableResult
    public func apply(_ operation: Operation, _ inputs: [Value?]) throws -> [Value] {
        let outputTypes = try operation.outputTypes(inputs.map { $0.map { types[$0.id] } })
        let outputs = outputTypes.enumerated().map { newValue($1, .node(nodes.count, output: $0)) }
        nodes.append(Node(operation: operation, inputs: inputs, outputs: outputs))
        return outputs
    }

    /// The bound values, by name.
    public var boundValues: [(name: String, value: Value)] {
        boundByName.sorted { $0.value.id < $1.value.id }.map { ($0.key, $0.value) }
    }

    /// The tensors of the bound values, in their order. Errors: `.internalError` when one is missing or does not fit.
    public func boundTensors(_ state: [String: Tensor], _ precision: Precision) throws -> [(name: String, tensor: Tensor)] {
        try boundValues.map { name, value in
            guard let tensor = state[name] else { throw MRPError(.internalError, "no tensor is bound to '\(name)'") }
            guard tensor.type == type(of: value), tensor.precision == precision || tensor.type.element != .real else {
                throw MRPError(.internalError, "'\(name)' has shape \(tensor.shape), the graph needs \(shape(of: value))")
            }
            return (name, tensor)
        }
    }

    public func boundValue(_ name: String) -> Value? { boundByName[name] }

    public func inputValue(_ name: String) -> Value? { inputByName[name] }

    /// A value that was declared before under this name.
    private func same(_ known: Value, _ name: String, _ type: TensorType) -> Value {
        if self.type(of: known) != type { conflicts.append("'\(name)' has shape \(shape(of: known)) and shape \(type.shape)") }
        return known
    }

    /// Refuses an operation that updates something else than a bound tensor, and a name that was declared with two types: `.internalError`.
    /// Backends call it when they compile.
    public func checkUpdates() throws {
        if let conflict = conflicts.first { throw MRPError(.internalError, conflict) }
        for node in nodes {
            for index in node.operation.updatedInputs {
                guard index < node.inputs.count, let value = node.inputs[index], case .bound = origins[value.id] else {
                    throw MRPError(.internalError, "the operation '\(node.operation.name)' updates its input \(index), which is not bound")
                }
            }
        }
    }

    func producer(of value: Value) -> Int? {
        if case .node(let index, _) = origins[value.id] { return index }
        return nil
    }

    func uses(of value: Value) -> Int {
        nodes.reduce(0) { $0 + $1.inputs.filter { $0 == value }.count }
    }

    /// Replaces the operation of a node by a form that takes one more input; outputs keep their types.
    func rewrite(_ node: Int, _ operation: Operation, input: Value, at index: Int) {
        nodes[node].operation = operation
        while nodes[node].inputs.count <= index { nodes[node].inputs.append(nil) }
        nodes[node].inputs[index] = input
    }

    private func newValue(_ type: TensorType, _ origin: Origin) -> Value {
        types.append(type)
        origins.append(origin)
        return Value(id: types.count - 1)
    }
}
