import CMRPDevice
import CMRPKernels
import Glibc
import MRPEngine

/// A graph compiled for an accelerator. The state lives on the device and is donated from run to run; the owner's tensors are brought up to date
/// when they are asked for (`downloadState`).
///
/// Inputs are host memory. What was written since the last run is uploaded at the beginning of the next one, or while the device still works on
/// the last one (`execute`'s `meanwhile`).
final class DeviceProgram: Program {
    private struct Input {
        let memory: Memory
        let type: PrimitiveType
        var buffer: DeviceBuffer?
        /// Ready when the upload has read the memory.
        var event: OpaquePointer?
        var isStale = true
    }

    /// The program with all updates, and without; each is compiled when it is first run.
    private struct Compiled {
        let program: PrimitiveProgram
        let executable: Executable
        let host: HostPart?
    }

    private let graph: Graph
    private let outputs: [Value]
    private let guards: [Value]
    private let backend: DeviceBackend
    private let state: [String: Tensor]
    private var compiled: [Bool: Compiled] = [:]
    private var inputs: [String: Input] = [:]
    private var hostValues: [Value: DeviceBuffer] = [:]
    private var isHostStale = true
    /// The state on the device, by name.
    private var resident: [String: DeviceBuffer] = [:]
    private var isStateNewer = false
    private var results: [Value: DeviceBuffer] = [:]
    private var read: [Value: Memory] = [:]
    /// Inputs of the last run.
    private var ran: [String: DeviceBuffer] = [:]

    init(_ graph: Graph, outputs: [Value], guards: [Value], state: [String: Tensor], backend: DeviceBackend) throws {
        (self.graph, self.outputs, self.guards, self.state, self.backend) = (graph, outputs, guards, state, backend)
        for (name, value) in graph.boundValues {
            guard let tensor = state[name] else { throw MRPError(.internalError, "no tensor is bound to '\(name)'") }
            guard tensor.type == graph.type(of: value), tensor.precision == precision || tensor.type.element != .real else {
                throw MRPError(.internalError, "'\(name)' has shape \(tensor.shape), the graph needs \(graph.shape(of: value))")
            }
        }
        _ = try compiled(updates: true)
        try uploadState()
    }

    deinit { for input in inputs.values { pj_await(input.event, nil) } }

    var precision: Precision { backend.precision }

    var bytes: Int {
        let hosted = inputs.values.reduce(0) { $0 + $1.memory.bytes } + compiled.values.reduce(0) { $0 + ($1.host?.bytes ?? 0) }
        return hosted + (compiled.values.map(\.executable.bytes).max() ?? 0)
    }

    private func type(_ value: Value) -> PrimitiveType {
        let type = graph.type(of: value)
        switch type.element {
        case .real: return PrimitiveType(type.shape, precision == .float64 ? .f64 : .f32)
        case .int32: return PrimitiveType(type.shape, .i32)
        case .float64: return PrimitiveType(type.shape, .f64)
        }
    }

    private func bytes(of value: Value) -> Int { graph.type(of: value).bytes(precision) }

    private func compiled(updates: Bool) throws -> Compiled {
        if let known = compiled[updates] { return known }
        let program = try graph.lowered(
            outputs: outputs + guards, guards: guards, updates: updates, real: precision == .float64 ? .f64 : .f32)
        let new = Compiled(
            program: program, executable: try backend.executable(program), host: try HostPart(graph, program, compute: backend.compute))
        guard new.executable.outputCount == program.results.count + (program.accepted == nil ? 0 : 1) else {
            throw MRPError(.internalError, "the device's program has \(new.executable.outputCount) results of \(program.results.count)")
        }
        for name in program.arguments.compactMap({ if case .input(let name) = $0.source { name } else { nil } }) + (new.host?.inputs ?? []) {
            guard inputs[name] == nil, let value = graph.inputValue(name) else { continue }
            inputs[name] = Input(
                memory: try Memory(bytes: bytes(of: value), zeroed: true, for: "the input '\(name)'"), type: type(value))
        }
        compiled[updates] = new
        return new
    }

    // MARK: Inputs and outputs

    func withInput<Result>(_ name: String, _ body: (UnsafeMutableRawBufferPointer) throws -> Result) throws -> Result? {
        guard let input = inputs[name] else { return nil }
        try awaitUpload(name)
        inputs[name]?.isStale = true
        isHostStale = true
        return try body(UnsafeMutableRawBufferPointer(start: input.memory.base, count: input.memory.bytes))
    }

    private func awaitUpload(_ name: String) throws {
        guard let event = inputs[name]?.event else { return }
        inputs[name]?.event = nil
        try check("upload of '\(name)'") { pj_await(event, $0) }
    }

    func withOutput<Result>(_ value: Value, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        let count = bytes(of: value)
        if let known = read[value] { return try body(UnsafeRawBufferPointer(start: known.base, count: count)) }
        guard let buffer = results[value] else {
            throw MRPError(.internalError, "a value that is not an output of the program was read")
        }
        let memory = try Memory(bytes: count, for: "an output")
        try buffer.download(to: memory.base, bytes: count)
        read[value] = memory
        return try body(UnsafeRawBufferPointer(start: memory.base, count: count))
    }

    func scalar(_ value: Value, _ index: Int) throws -> Double {
        let type = graph.type(of: value)
        guard index >= 0, index < type.count, type.element != .int32 else {
            throw MRPError(.internalError, "element \(index) of an output of shape \(type.shape) was read")
        }
        return try withOutput(value) {
            type.element.bytes(precision) == 4
                ? Double($0.load(fromByteOffset: 4 * index, as: Float.self)) : $0.load(fromByteOffset: 8 * index, as: Double.self)
        }
    }

    // MARK: State

    func downloadState() throws {
        guard isStateNewer else { return }
        for (name, buffer) in resident {
            guard let tensor = state[name] else { continue }
            try buffer.download(to: tensor.memory, bytes: tensor.bytes)
        }
        isStateNewer = false
    }

    func uploadState() throws {
        for (name, value) in graph.boundValues {
            guard let tensor = state[name] else { continue }
            resident[name] = try DeviceBuffer(tensor.memory, type(value), backend.plugin)
        }
        isStateNewer = false
    }

    // MARK: Running

    /// Uploads what was written; with `ahead` the copies go on while the call returns.
    private func upload(_ compiled: Compiled) throws {
        for name in inputs.keys where inputs[name]?.isStale == true {
            guard let input = inputs[name] else { continue }
            var event: OpaquePointer?
            inputs[name]?.buffer = try DeviceBuffer(input.memory.base, input.type, backend.plugin, event: &event)
            inputs[name]?.event = event
            inputs[name]?.isStale = false
        }
        guard let host = compiled.host, isHostStale else { return }
        try host.run { name in inputs[name].map { $0.memory.raw } }
        for case .host(let value) in compiled.program.arguments.map(\.source) {
            hostValues[value] = try host.withValue(value) { try DeviceBuffer($0.baseAddress, type(value), backend.plugin) }
        }
        isHostStale = false
    }

    func execute(
        cancel: UnsafePointer<Int32>?, poll: (() -> Void)?, updates: Bool, meanwhile: (() -> Void)?
    ) throws -> RunOutcome {
        let compiled = try compiled(updates: updates)
        try upload(compiled)
        poll?()
        if let cancel, mk_flag_load(cancel) != 0 { return .cancelled }
        let buffers = try compiled.program.arguments.map { argument in
            let buffer: DeviceBuffer? =
                switch argument.source {
                case .input(let name): inputs[name]?.buffer
                case .bound(let name): resident[name]
                case .host(let value): hostValues[value]
                }
            guard let buffer else { throw MRPError(.device, "the device has no weights left after an error: go on from a checkpoint") }
            return buffer
        }
        var (made, event) = ([OpaquePointer?](repeating: nil, count: compiled.executable.outputCount), OpaquePointer?.none)
        let handles = buffers.map { Optional($0.handle) }
        // Donated tensors are consumed, whatever becomes of the run.
        for result in compiled.program.results {
            if let target = result.updates, case .bound(let name) = compiled.program.arguments[target].source { resident[name] = nil }
        }
        (results, read) = ([:], [:])
        ran = inputs.compactMapValues(\.buffer)
        do {
            // Handles do not keep their buffers alive.
            try withExtendedLifetime(buffers) {
                try check("device \(backend.plugin.platform)") {
                    pj_execute(compiled.executable.handle, handles, handles.count, &made, &event, $0)
                }
            }
        } catch let error as MRPError where error.code == .memory { throw outOfMemory(compiled, error) }
        let new = made.compactMap { $0.map(DeviceBuffer.init) }
        meanwhile?()
        if meanwhile != nil { try upload(compiled) }
        while poll != nil, !pj_is_ready(event) {
            poll?()
            usleep(100)
        }
        do {
            try check("device \(backend.plugin.platform)") { pj_await(event, $0) }
        } catch let error as MRPError where error.code == .memory { throw outOfMemory(compiled, error) }
        return try take(new, compiled)
    }

    /// Keeps the results of a run that is done.
    private func take(_ new: [DeviceBuffer], _ compiled: Compiled) throws -> RunOutcome {
        guard new.count == compiled.executable.outputCount else { throw MRPError(.device, "the device gave too few results") }
        for (index, result) in compiled.program.results.enumerated() {
            if let target = result.updates {
                if case .bound(let name) = compiled.program.arguments[target].source { resident[name] = new[index] }
            } else {
                results[(outputs + guards)[index]] = new[index]
            }
        }
        if compiled.program.results.contains(where: { $0.updates != nil }) { isStateNewer = true }
        guard compiled.program.accepted != nil, let last = new.last else { return .finished }
        var isAccepted: UInt8 = 0
        try last.download(to: &isAccepted, bytes: 1)
        return isAccepted != 0 ? .finished : .notFinite
    }

    private func outOfMemory(_ compiled: Compiled, _ error: MRPError) -> MRPError {
        let memory = backend.plugin.memory(of: 0)
        let free = memory.limit.flatMap { limit in memory.inUse.map { "\((limit - $0) >> 20) of \(limit >> 20) MiB are free" } }
        return MRPError(
            .memory,
            "the device has too little memory: a run takes \(compiled.executable.bytes >> 20) MiB\(free.map { ", \($0)" } ?? ""): lower batch_size (\(error.message))"
        )
    }

    /// The same run on the processor, with the device's weights.
    func firstNonFinite() throws -> String? {
        try downloadState()
        let copies = try state.mapValues { try $0.copy() }
        let program = try CPUProgram(graph, outputs: outputs + guards, state: copies, compute: backend.compute)
        for (name, buffer) in ran {
            try program.withInput(name) { if let base = $0.baseAddress { try buffer.download(to: base, bytes: $0.count) } }
        }
        return try program.firstNonFinite()
    }
}
