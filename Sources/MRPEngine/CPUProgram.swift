import CMRPKernels

/// A graph compiled for the processor: one arena, resolved pointers and a flat list of kernel calls. A run looks up and allocates nothing.
///
/// Inputs, outputs and state are host memory in place: `withInput` and `withOutput` copy nothing, the owner's tensors are the state.
public final class CPUProgram: Program {
    public let plan: MemoryPlan
    public let compute: Compute
    /// Scratch memory of the kernels, all threads together.
    public private(set) var scratchBytes = 0

    private let graph: Graph
    private let outputs: Set<Value>
    private let guards: [Value]
    private let arena: Memory
    private var inputs: [String: Tensor] = [:]
    private var constants: [Value: Tensor] = [:]
    private let state: [String: Tensor]
    private var kernels: [Kernel] = []

    /// See `Backend.compile`.
    public init(
        _ graph: Graph, outputs: [Value], guards: [Value] = [], state: [String: Tensor], compute: Compute
    ) throws {
        self.graph = graph
        self.compute = compute
        self.outputs = Set(outputs + guards)
        self.guards = guards
        self.state = state
        plan = try MemoryPlan(graph, outputs: outputs + guards, precision: compute.precision)
        arena = try Memory(bytes: plan.arenaBytes, for: "the values of a step")
        for value in plan.inputs {
            guard case .input(let name) = graph.origins[value.id] else { continue }
            inputs[name] = try Tensor(graph.type(of: value), precision: compute.precision)
        }
        try prepare()
    }

    public var precision: Precision { compute.precision }

    /// Arena, inputs and scratch memory.
    public var bytes: Int { plan.arenaBytes + plan.inputBytes + scratchBytes }

    public func withInput<Result>(_ name: String, _ body: (UnsafeMutableRawBufferPointer) throws -> Result) throws -> Result? {
        try inputs[name].map { try body(UnsafeMutableRawBufferPointer(start: $0.memory, count: $0.bytes)) }
    }

    public func withOutput<Result>(_ value: Value, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        guard outputs.contains(value), let pointer = resolve(value) else {
            throw MRPError(.internalError, "a value that is not an output of the program was read")
        }
        return try body(UnsafeRawBufferPointer(start: pointer, count: graph.type(of: value).bytes(compute.precision)))
    }

    public func scalar(_ value: Value, _ index: Int) throws -> Double {
        try withOutput(value) { try graph.type(of: value).number(index, in: $0, precision) }
    }

    public func execute(
        cancel: UnsafePointer<Int32>?, poll: (() -> Void)?, updates: Bool, meanwhile _: (() -> Void)?
    ) throws -> RunOutcome {
        mk_pool_set_cancel_flag(compute.pool, cancel)
        defer { mk_pool_set_cancel_flag(compute.pool, nil) }
        for index in 0..<plan.firstUpdate {
            if mk_pool_cancelled(compute.pool) != 0 { return .cancelled }
            try kernels[index].run()
            poll?()
        }
        if mk_pool_cancelled(compute.pool) != 0 { return .cancelled }
        guard try guards.allSatisfy({ try scalar($0).isFinite }) else { return .notFinite }
        guard updates else { return .finished }
        mk_pool_set_cancel_flag(compute.pool, nil)
        for index in plan.firstUpdate..<kernels.count { try kernels[index].run() }
        return .finished
    }

    public func downloadState() {}
    public func uploadState() {}

    public func firstNonFinite() throws -> String? {
        for (name, tensor) in inputs.sorted(by: { $0.key < $1.key }) where !isFinite(tensor.memory, tensor.type) { return "in '\(name)'" }
        for (name, tensor) in state.sorted(by: { $0.key < $1.key }) where !isFinite(tensor.memory, tensor.type) { return "in '\(name)'" }
        var near = ""
        for (index, node) in plan.schedule.prefix(plan.firstUpdate).map({ graph.nodes[$0] }).enumerated() {
            for case .bound(let name)? in node.inputs.map({ $0.map { graph.origins[$0.id] } }) { near = " at '\(name)'" }
            try kernels[index].run()
            for value in node.outputs {
                if let pointer = resolve(value), !isFinite(pointer, graph.type(of: value)) {
                    return "a result of '\(node.operation.name)'\(near)"
                }
            }
        }
        return nil
    }

    private func isFinite(_ pointer: UnsafeMutableRawPointer, _ type: TensorType) -> Bool {
        guard type.element != .int32 else { return true }
        if type.element.bytes(compute.precision) == 4 {
            return UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: Float.self), count: type.count).allSatisfy(\.isFinite)
        }
        return UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: Double.self), count: type.count).allSatisfy(\.isFinite)
    }

    private func prepare() throws {
        _ = try graph.boundTensors(state, compute.precision)
        var scratch = mk_scratch(per_worker: 0, shared: 0)
        for index in plan.schedule {
            let node = graph.nodes[index]
            for value in node.inputs.compactMap({ $0 }) { try convertConstant(value) }
            let kernel = node.operation.kernel(
                KernelCall(
                    compute: compute, inputs: node.inputs.map { $0.flatMap(resolve) }, outputs: node.outputs.map(resolve),
                    inputTypes: node.inputs.map { $0.map(graph.type(of:)) }, outputTypes: node.outputs.map(graph.type(of:))))
            scratch.per_worker = max(scratch.per_worker, kernel.scratch.per_worker)
            scratch.shared = max(scratch.shared, kernel.scratch.shared)
            kernels.append(kernel)
        }
        guard mk_pool_reserve(compute.pool, scratch.per_worker, scratch.shared) == 0 else {
            throw MRPError(.memory, "cannot allocate \(scratch.per_worker) bytes of scratch memory for each of \(compute.threads) threads")
        }
        scratchBytes = Int(scratch.per_worker) * compute.threads + Int(scratch.shared)
    }

    /// The graph keeps real constants in float32; they are converted to the compiled precision.
    private func convertConstant(_ value: Value) throws {
        guard case .constant(let tensor) = graph.origins[value.id], constants[value] == nil else { return }
        if tensor.precision == compute.precision || tensor.type.element != .real {
            constants[value] = tensor
        } else {
            let converted = try Tensor(tensor.type, precision: compute.precision)
            converted.copyElements(of: tensor)
            constants[value] = converted
        }
    }

    private func resolve(_ value: Value) -> UnsafeMutableRawPointer? {
        switch graph.origins[value.id] {
        case .input(let name): return inputs[name]?.memory
        case .bound(let name): return state[name]?.memory
        case .constant: return constants[value]?.memory
        case .node: return plan.offsets[value].map { arena.base + $0 }
        }
    }
}
