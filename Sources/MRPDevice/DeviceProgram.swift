import CMRPDevice
import CMRPKernels
import Glibc
import MRPEngine

/// A graph compiled for an accelerator. The state lives on the device and is donated from run to run; the owner's tensors are brought up to date
/// when they are asked for (`downloadState`).
///
/// Several replicas have inputs of their own and the same state; their outputs are those of replica 0 where they are means, as losses are.
///
/// Inputs are host memory. What was written since the last run is uploaded at the beginning of the next one, or while the device still works on
/// the last one (`execute`'s `meanwhile`).
final class DeviceProgram: Program {
    /// Place of an argument's buffer.
    private enum Slot {
        case input(Int)
        case bound(Int)
        case host(Value)
    }

    /// An input of one replica.
    private struct Input {
        let name: String
        let memory: Memory
        let type: PrimitiveType
        var buffer: DeviceBuffer?
        /// Ready when the upload has read the memory.
        var event: OpaquePointer?
        var isStale = true
    }

    /// The program with all updates, and without; each is compiled when it is first run.
    private struct Compiled {
        let executable: Executable
        let host: HostPart?
        let arguments: [Slot]
        /// The bound value that each result is the new value of; nil: an output.
        let updates: [Int?]
        let isGuarded: Bool
    }

    private let graph: Graph
    private let outputs: [Value]
    private let guards: [Value]
    private let backend: DeviceBackend
    /// The state in the order of the graph, on the host and on the device.
    private let tensors: [(name: String, tensor: Tensor)]
    private var resident: [[DeviceBuffer?]]
    private var compiled: [Bool: Compiled] = [:]
    private var inputs: [[Input]]
    private var inputNumbers: [String: Int] = [:]
    private var hostValues: [[Value: DeviceBuffer]]
    private var isHostStale: [Bool]
    private let replicas: Int
    private let real: PrimitiveElement
    var replica = 0
    private var isStateNewer = false
    private var results: [[Value: DeviceBuffer]] = []
    private var read: [[Value: Memory]] = []
    /// Inputs of the last run.
    private var ran: [[DeviceBuffer?]] = []

    init(_ graph: Graph, outputs: [Value], guards: [Value], state: [String: Tensor], backend: DeviceBackend) throws {
        (self.graph, self.outputs, self.guards, self.backend, replicas) = (graph, outputs, guards, backend, backend.replicas)
        real = backend.precision == .float64 ? .f64 : .f32
        tensors = try graph.boundTensors(state, backend.precision)
        resident = Array(repeating: Array(repeating: nil, count: tensors.count), count: replicas)
        inputs = Array(repeating: [], count: replicas)
        hostValues = Array(repeating: [:], count: replicas)
        isHostStale = Array(repeating: true, count: replicas)
        _ = try compiled(updates: true)
        try uploadState()
    }

    deinit { for input in inputs.joined() { pj_await(input.event, nil) } }

    var precision: Precision { backend.precision }

    var bytes: Int {
        let hosted = inputs.joined().reduce(0) { $0 + $1.memory.bytes } + compiled.values.reduce(0) { $0 + ($1.host?.bytes ?? 0) }
        return hosted + (compiled.values.map(\.executable.bytes).max() ?? 0)
    }

    private func type(_ value: Value) -> PrimitiveType { PrimitiveType(graph.type(of: value), real: real) }

    private func bytes(of value: Value) -> Int { graph.type(of: value).bytes(precision) }

    private func compiled(updates: Bool) throws -> Compiled {
        if let known = compiled[updates] { return known }
        let program = try graph.lowered(
            outputs: outputs + guards, guards: guards, updates: updates, real: real, replicas: replicas)
        let host = try HostPart(graph, program, compute: backend.compute)
        for name in host?.inputs ?? [] { try addInput(name) }
        let boundNumbers = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
        let arguments = try program.arguments.map { argument -> Slot in
            switch argument.source {
            case .input(let name): return .input(try addInput(name))
            case .host(let value): return .host(value)
            case .bound(let name):
                guard let number = boundNumbers[name] else { throw MRPError(.internalError, "no tensor is bound to '\(name)'") }
                return .bound(number)
            }
        }
        let executable = try backend.executable(program)
        guard executable.outputCount == program.results.count + (program.accepted == nil ? 0 : 1) else {
            throw MRPError(.internalError, "the device's program has \(executable.outputCount) results of \(program.results.count)")
        }
        let targets = program.results.map { result -> Int? in
            if let argument = result.updates, case .bound(let number) = arguments[argument] { number } else { nil }
        }
        let new = Compiled(
            executable: executable, host: host, arguments: arguments, updates: targets, isGuarded: program.accepted != nil)
        compiled[updates] = new
        return new
    }

    @discardableResult
    private func addInput(_ name: String) throws -> Int {
        if let known = inputNumbers[name] { return known }
        guard let value = graph.inputValue(name) else { throw MRPError(.internalError, "the graph has no input '\(name)'") }
        for replica in 0..<replicas {
            let memory = try Memory(bytes: bytes(of: value), zeroed: true, for: "the input '\(name)'")
            inputs[replica].append(Input(name: name, memory: memory, type: type(value)))
        }
        inputNumbers[name] = inputs[0].count - 1
        return inputs[0].count - 1
    }

    // MARK: Inputs and outputs

    func withInput<Result>(_ name: String, _ body: (UnsafeMutableRawBufferPointer) throws -> Result) throws -> Result? {
        guard let number = inputNumbers[name] else { return nil }
        if let event = inputs[replica][number].event {
            inputs[replica][number].event = nil
            try check("upload of '\(name)'") { pj_await(event, $0) }
        }
        inputs[replica][number].isStale = true
        isHostStale[replica] = true
        return try body(inputs[replica][number].memory.raw)
    }

    func withOutput<Result>(_ value: Value, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
        let count = bytes(of: value)
        guard results.indices.contains(replica) else { throw MRPError(.internalError, "an output was read before the first run") }
        if let known = read[replica][value] { return try body(UnsafeRawBufferPointer(start: known.base, count: count)) }
        guard let buffer = results[replica][value] else {
            throw MRPError(.internalError, "a value that is not an output of the program was read")
        }
        let memory = try Memory(bytes: count, for: "an output")
        try buffer.download(to: memory.base, bytes: count)
        read[replica][value] = memory
        return try body(UnsafeRawBufferPointer(start: memory.base, count: count))
    }

    func scalar(_ value: Value, _ index: Int) throws -> Double {
        try withOutput(value) { try graph.type(of: value).number(index, in: $0, precision) }
    }

    // MARK: State

    func downloadState() throws {
        guard isStateNewer else { return }
        for (buffer, state) in zip(resident[0], tensors) {
            guard let buffer else { throw Self.lost }
            try buffer.download(to: state.tensor.memory, bytes: state.tensor.bytes)
        }
        isStateNewer = false
    }

    func uploadState() throws {
        for (number, state) in tensors.enumerated() {
            let type = PrimitiveType(state.tensor.type, real: real)
            for replica in 0..<replicas {
                resident[replica][number] = try DeviceBuffer(state.tensor.memory, type, backend.plugin, device: replica)
            }
        }
        isStateNewer = false
    }

    private static let lost = MRPError(.device, "the device has no weights left after an error: go on from a checkpoint")

    // MARK: Running

    /// Uploads what was written since; the copies go on while the call returns.
    private func upload(_ compiled: Compiled) throws {
        for replica in 0..<replicas {
            for number in inputs[replica].indices where inputs[replica][number].isStale {
                var event: OpaquePointer?
                let input = inputs[replica][number]
                inputs[replica][number].buffer = try DeviceBuffer(
                    input.memory.base, input.type, backend.plugin, device: replica, event: &event)
                inputs[replica][number].event = event
                inputs[replica][number].isStale = false
            }
            guard let host = compiled.host, isHostStale[replica] else { continue }
            try host.run { name in inputNumbers[name].map { inputs[replica][$0].memory.raw } }
            for case .host(let value) in compiled.arguments {
                hostValues[replica][value] = try host.withValue(value) {
                    try DeviceBuffer($0.baseAddress, type(value), backend.plugin, device: replica)
                }
            }
            isHostStale[replica] = false
        }
    }

    /// The arguments of all replicas, one after the other.
    private func arguments(_ compiled: Compiled) throws -> [DeviceBuffer] {
        try (0..<replicas).flatMap { replica in
            try compiled.arguments.map { slot in
                let buffer: DeviceBuffer? =
                    switch slot {
                    case .input(let number): inputs[replica][number].buffer
                    case .bound(let number): resident[replica][number]
                    case .host(let value): hostValues[replica][value]
                    }
                guard let buffer else { throw Self.lost }
                return buffer
            }
        }
    }

    func execute(
        cancel: UnsafePointer<Int32>?, poll: (() -> Void)?, updates: Bool, meanwhile: (() -> Void)?
    ) throws -> RunOutcome {
        let compiled = try compiled(updates: updates)
        try upload(compiled)
        poll?()
        if let cancel, mk_flag_load(cancel) != 0 { return .cancelled }
        let buffers = try arguments(compiled)
        var made = [OpaquePointer?](repeating: nil, count: replicas * compiled.executable.outputCount)
        var events = [OpaquePointer?](repeating: nil, count: replicas)
        let handles = buffers.map { Optional($0.handle) }
        // Donated tensors are consumed, whatever becomes of the run.
        for case let number? in compiled.updates { for replica in 0..<replicas { resident[replica][number] = nil } }
        results = Array(repeating: [:], count: replicas)
        read = Array(repeating: [:], count: replicas)
        ran = inputs.map { $0.map(\.buffer) }
        do {
            // Handles do not keep their buffers alive.
            try withExtendedLifetime(buffers) {
                try check("device \(backend.plugin.platform)") {
                    pj_execute(compiled.executable.handle, handles, handles.count / replicas, &made, &events, $0)
                }
            }
        } catch let error as MRPError where error.code == .memory { throw outOfMemory(compiled, error) }
        let new = made.compactMap { $0.map(DeviceBuffer.init) }
        meanwhile?()
        if meanwhile != nil { try upload(compiled) }
        while poll != nil, !events.allSatisfy(pj_is_ready) {
            poll?()
            usleep(100)
        }
        var failure: (any Error)?
        for event in events {
            do { try check("device \(backend.plugin.platform)") { pj_await(event, $0) } } catch { failure = failure ?? error }
        }
        if let failure = failure as? MRPError, failure.code == .memory { throw outOfMemory(compiled, failure) }
        if let failure { throw failure }
        return try take(new, compiled)
    }

    /// Keeps the results of a run that is done.
    private func take(_ new: [DeviceBuffer], _ compiled: Compiled) throws -> RunOutcome {
        let count = compiled.executable.outputCount
        guard new.count == replicas * count else { throw MRPError(.device, "the device gave too few results") }
        for replica in 0..<replicas {
            var wanted = (outputs + guards)[...]
            for (buffer, target) in zip(new[(replica * count)...], compiled.updates) {
                if let target {
                    resident[replica][target] = buffer
                    isStateNewer = true
                } else if let value = wanted.popFirst() {
                    results[replica][value] = buffer
                }
            }
        }
        guard compiled.isGuarded else { return .finished }
        var isAccepted: UInt8 = 0
        try new[count - 1].download(to: &isAccepted, bytes: 1)
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
        let copies = try Dictionary(uniqueKeysWithValues: tensors.map { ($0.name, try $0.tensor.copy()) })
        let program = try CPUProgram(graph, outputs: outputs + guards, state: copies, compute: backend.compute)
        for (inputs, buffers) in zip(inputs, ran) {
            for (input, buffer) in zip(inputs, buffers) {
                try program.withInput(input.name) { if let base = $0.baseAddress { try buffer?.download(to: base, bytes: $0.count) } }
            }
            if let place = try program.firstNonFinite() { return place }
        }
        return nil
    }
}
