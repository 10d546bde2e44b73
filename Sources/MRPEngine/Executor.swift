import CMRPKernels

/// A compiled graph: one arena, resolved pointers and a flat list of kernel calls. Nothing is looked up or allocated in `run`.
public final class Executor {
    public let plan: MemoryPlan
    public let compute: Compute
    /// Scratch memory of the kernels, all threads together.
    public private(set) var scratchBytes = 0

    private let graph: Graph
    private var arena: UnsafeMutableRawPointer
    private var inputTensors: [String: Tensor] = [:]
    private var constants: [Value: Tensor] = [:]
    private var boundTensors: [String: Tensor]
    private var kernels: [Kernel] = []

    /// Plans and prepares. `outputs` stay readable after each run; `bound` holds the tensors that the graph names.
    /// Throws `MRP_ERR_MEMORY` when a piece cannot be allocated.
    public init(_ graph: Graph, outputs: [Value], bound: [String: Tensor], compute: Compute) throws {
        self.graph = graph
        self.compute = compute
        boundTensors = bound
        plan = try MemoryPlan(graph, outputs: outputs, precision: compute.precision)
        guard let arena = mk_allocate(Int64(max(plan.arenaBytes, 1))) else {
            throw MRPError(.memory, "cannot allocate \(plan.arenaBytes) bytes for the values of a step")
        }
        self.arena = arena
        for value in plan.inputs {
            guard case .input(let name) = graph.origins[value.id] else { continue }
            inputTensors[name] = try Tensor(graph.type(of: value), precision: compute.precision)
        }
        try prepare()
    }

    deinit { mk_release(arena) }

    /// All memory that this executor holds: arena, inputs, scratch (bound tensors belong to their owner).
    public var bytes: Int { plan.arenaBytes + plan.inputBytes + scratchBytes }

    /// The tensor that the host fills before `run`; nil when the graph has no such input or does not use it.
    public func input(_ name: String) -> Tensor? { inputTensors[name] }

    /// Where the value of an output lies; valid until the executor goes, rewritten by each run.
    public func pointer(to value: Value) -> UnsafeMutableRawPointer? { resolve(value) }

    /// A real output's element as a double.
    public func scalar(_ value: Value, _ index: Int = 0) -> Double {
        guard index >= 0, index < graph.type(of: value).count, let pointer = resolve(value) else { return .nan }
        return compute.precision == .float32
            ? Double(pointer.assumingMemoryBound(to: Float.self)[index])
            : pointer.assumingMemoryBound(to: Double.self)[index]
    }

    /// Runs the work and, unless it was cancelled, the updates. Returns whether it came to the end.
    ///
    /// `cancel` is polled by the kernels between tasks: the call returns soon after it becomes nonzero. `poll` is called on this
    /// thread between kernels. `accept` is asked between work and updates (for example whether the loss is finite); false leaves
    /// all bound tensors as they were, and so does `updates` false.
    @discardableResult
    public func run(
        cancel: UnsafePointer<Int32>?, poll: (() -> Void)? = nil, updates: Bool = true, accept: () throws -> Bool
    ) rethrows -> Bool {
        mk_pool_set_cancel_flag(compute.pool, cancel)
        defer { mk_pool_set_cancel_flag(compute.pool, nil) }
        for index in 0..<plan.firstUpdate {
            if mk_pool_cancelled(compute.pool) != 0 { return false }
            kernels[index].run()
            poll?()
        }
        if mk_pool_cancelled(compute.pool) != 0 { return false }
        guard try accept() else { return false }
        guard updates else { return true }
        mk_pool_set_cancel_flag(compute.pool, nil)
        for index in plan.firstUpdate..<kernels.count { kernels[index].run() }
        return true
    }

    @discardableResult
    public func run(cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil) -> Bool {
        run(cancel: cancel, poll: poll, accept: { true })
    }

    /// Runs the work again, without the updates, and says where the first value comes from that is NaN or infinite: an input, a bound
    /// tensor, or an operation with the bound tensor that was read last before it. Nil when all are finite.
    public func firstNonFinite() -> String? {
        for (name, tensor) in inputTensors.sorted(by: { $0.key < $1.key }) where !isFinite(tensor.memory, tensor.type) {
            return "in '\(name)'"
        }
        for (name, tensor) in boundTensors.sorted(by: { $0.key < $1.key }) where !isFinite(tensor.memory, tensor.type) {
            return "in '\(name)'"
        }
        var near = ""
        for (index, node) in plan.schedule.prefix(plan.firstUpdate).map({ graph.nodes[$0] }).enumerated() {
            for case .bound(let name)? in node.inputs.map({ $0.map { graph.origins[$0.id] } }) { near = " at '\(name)'" }
            kernels[index].run()
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
        if compute.precision == .float32 {
            return UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: Float.self), count: type.count).allSatisfy(\.isFinite)
        }
        return UnsafeBufferPointer(start: pointer.assumingMemoryBound(to: Double.self), count: type.count).allSatisfy(\.isFinite)
    }

    private func prepare() throws {
        for (name, value) in graph.boundValues {
            guard let tensor = boundTensors[name] else { throw MRPError(.internalError, "no tensor is bound to '\(name)'") }
            guard tensor.type == graph.type(of: value), tensor.precision == compute.precision || tensor.type.element == .int32 else {
                throw MRPError(.internalError, "'\(name)' has shape \(tensor.shape), the graph needs \(graph.shape(of: value))")
            }
        }
        var scratch = mk_scratch(per_worker: 0, shared: 0)
        for index in plan.schedule {
            let node = graph.nodes[index]
            for value in node.inputs.compactMap({ $0 }) { try convertConstant(value) }
            let kernel = node.operation.kernel(
                KernelCall(
                    kernels: compute.kernels, pool: compute.pool, convolvesDirectly: compute.convolvesDirectly,
                    inputs: node.inputs.map { $0.flatMap(resolve) },
                    outputs: node.outputs.map(resolve), inputTypes: node.inputs.map { $0.map(graph.type(of:)) },
                    outputTypes: node.outputs.map(graph.type(of:))))
            scratch.per_worker = max(scratch.per_worker, kernel.scratch.per_worker)
            scratch.shared = max(scratch.shared, kernel.scratch.shared)
            kernels.append(kernel)
        }
        guard mk_pool_reserve(compute.pool, scratch.per_worker, scratch.shared) == 0 else {
            throw MRPError(.memory, "cannot allocate \(scratch.per_worker) bytes of scratch memory for each of \(compute.threads) threads")
        }
        scratchBytes = Int(scratch.per_worker) * compute.threads + Int(scratch.shared)
    }

    /// Constants are kept in float32 (or int32) by the graph and converted to the compiled precision.
    private func convertConstant(_ value: Value) throws {
        guard case .constant(let tensor) = graph.origins[value.id], constants[value] == nil else { return }
        if tensor.precision == compute.precision || tensor.type.element == .int32 {
            constants[value] = tensor
        } else {
            let converted = try Tensor(tensor.type, precision: compute.precision)
            converted.copyElements(of: tensor)
            constants[value] = converted
        }
    }

    private func resolve(_ value: Value) -> UnsafeMutableRawPointer? {
        switch graph.origins[value.id] {
        case .input(let name): return inputTensors[name]?.memory
        case .bound(let name): return boundTensors[name]?.memory
        case .constant: return constants[value]?.memory
        case .node: return plan.offsets[value].map { arena + $0 }
        }
    }
}
