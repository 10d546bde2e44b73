/// An operation without a meaning in primitives: it is computed from masks or images alone and runs in the CPU engine first.
///
/// These are `CellPlaces`, the index lists of visible cells, and `HistogramsOfGradients`, the target of MaskFeat.
public protocol HostOperation: Operation {}

extension HostOperation {
    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        throw MRPError(.unsupported, "the operation '\(name)' has no meaning in primitives: the CPU engine computes it first")
    }
}

extension Graph {
    /// The meaning in primitives of all that `outputs` need and of all updates (without `updates` of the work alone), in the order in which an
    /// executor runs them. Real numbers are `real`. Bound tensors keep their values where one of the `guards`, real scalars, is not finite.
    /// `replicas` devices run the program side by side (`ReplicaMean`).
    ///
    /// Throws `MRP_ERR_UNSUPPORTED` for a `HostOperation` that depends on bound tensors.
    public func lowered(
        outputs: [Value], guards: [Value] = [], updates: Bool = true, real: PrimitiveElement = .f32, replicas: Int = 1
    ) throws -> PrimitiveProgram {
        let plan = try MemoryPlan(self, outputs: outputs + guards, precision: .float32)
        var lowering = GraphLowering(graph: self, real: real, replicas: replicas)
        for index in updates ? plan.schedule[...] : plan.schedule[..<plan.firstUpdate] { try lowering.append(index) }
        return try lowering.program(outputs: outputs, guards: guards)
    }
}

/// Walks the nodes of a graph. A bound tensor's value changes when an update gives it a new one.
private struct GraphLowering {
    let graph: Graph
    let real: PrimitiveElement
    private let builder: PrimitiveBuilder
    private var values: [Value: PrimitiveValue] = [:]
    /// Arguments by the graph's value: what they are before all updates.
    private var arguments: [Value: (source: PrimitiveProgram.Argument.Source, value: PrimitiveValue)] = [:]
    private var updated: Set<Value> = []

    init(graph: Graph, real: PrimitiveElement, replicas: Int) {
        (self.graph, self.real, builder) = (graph, real, PrimitiveBuilder(replicas: replicas))
    }

    private func type(_ value: Value) -> PrimitiveType { PrimitiveType(graph.type(of: value), real: real) }

    private mutating func argument(_ value: Value, _ source: PrimitiveProgram.Argument.Source) -> PrimitiveValue {
        let new = builder.argument(type(value))
        arguments[value] = (source, new)
        return new
    }

    private mutating func value(_ value: Value) throws -> PrimitiveValue {
        if let known = values[value] { return known }
        let new: PrimitiveValue
        switch graph.origins[value.id] {
        case .input(let name): new = argument(value, .input(name))
        case .bound(let name): new = argument(value, .bound(name))
        case .constant(let tensor):
            let isNumber = tensor.count == 1 && tensor.type.element == .real
            new = try builder.apply(isNumber ? .constant(tensor[0], type(value)) : .dense(tensor, type(value)), [])
        case .node: throw MRPError(.internalError, "a value is read before it is made")
        }
        values[value] = new
        return new
    }

    mutating func append(_ index: Int) throws {
        let node = graph.nodes[index]
        builder.operation = node.operation.name
        if node.operation is any HostOperation, dependsOnInputsAlone(index) {
            for output in node.outputs { values[output] = argument(output, .host(output)) }
            return
        }
        let inputs = try node.inputs.map { input in try input.map { try value($0) } }
        let meaning = try node.operation.lowered(inputs, in: builder)
        let targets =
            try node.outputs
            + node.operation.updatedInputs.map { position in
                guard let target = node.inputs[position] else {
                    throw MRPError(.internalError, "'\(node.operation.name)' updates an absent input")
                }
                updated.insert(target)
                return target
            }
        // A scalar weight that met a learning rate in f64 comes back to its own element.
        let results = try zip(meaning, targets).map { $0.element.isReal ? try $0.converted(to: type($1).element) : $0 }
        guard meaning.count == targets.count, results.map(\.type) == targets.map(type) else {
            throw MRPError(
                .internalError, "'\(node.operation.name)' gives \(targets.map(type)), in primitives \(results.map(\.type))")
        }
        for (target, result) in zip(targets, results) { values[target] = result }
    }

    private func dependsOnInputsAlone(_ index: Int) -> Bool {
        graph.nodes[index].inputs.allSatisfy { input in
            guard let input else { return true }
            switch graph.origins[input.id] {
            case .input, .constant: return true
            case .bound: return false
            case .node(let producer, _): return dependsOnInputsAlone(producer)
            }
        }
    }

    /// Program of the instructions that the results need.
    mutating func program(outputs: [Value], guards: [Value]) throws -> PrimitiveProgram {
        builder.operation = "guard"
        var accepted: PrimitiveValue?
        for value in try guards.map({ try value($0).unary(.isFinite) }) { accepted = try accepted.map { try $0 .& value } ?? value }
        var results = try outputs.map { (value: try value($0).id, target: Value?.none) }
        for target in updated.sorted(by: { $0.id < $1.id }) {
            let new = try value(target)
            let guarded = try accepted.flatMap { accepted in try arguments[target].map { try accepted.choose(new, $0.value) } } ?? new
            results.append((guarded.id, target))
        }
        var needed = Set(results.map(\.value) + (accepted.map { [$0.id] } ?? []))
        var instructions: [PrimitiveProgram.Instruction] = []
        for instruction in builder.instructions.reversed() where needed.contains(instruction.result) {
            needed.formUnion(instruction.operands + (builder.composites[instruction.result]?.operands ?? []))
            instructions.append(instruction)
        }
        let used = arguments.filter { needed.contains($0.value.value.id) || updated.contains($0.key) }.sorted { $0.key.id < $1.key.id }
        return PrimitiveProgram(
            types: builder.types, arguments: used.map { .init(source: $0.value.source, value: $0.value.value.id) },
            instructions: instructions.reversed(), composites: builder.composites.filter { needed.contains($0.key) },
            results: results.map { result in
                .init(value: result.value, updates: result.target.flatMap { target in used.firstIndex { $0.key == target } })
            }, accepted: accepted?.id)
    }
}
