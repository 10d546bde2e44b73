import CMRPDevice
import MRPEngine

/// Compiles graphs for an accelerator: the graph in primitives as StableHLO text, compiled and run by a PJRT plug-in.
public struct DeviceBackend: Backend {
    public let plugin: Plugin
    public let matmulPrecision: MatmulPrecision
    /// For operations that the processor does first, and for the search of a bad value.
    let compute: Compute
    /// Folder of compiled programs; nil: none are kept.
    let cache: String?

    /// Devices that share each batch.
    public let replicas: Int

    /// `device` is cuda, rocm, tpu or pjrt:/path/to/plugin.so. Errors as `Plugin.init`; `.argument` for more replicas than there are devices.
    public init(device: String, precision: MatmulPrecision, replicas: Int = 1, compute: Compute, cache: String?) throws {
        plugin = try Plugin(device: device)
        guard replicas >= 1, replicas <= plugin.deviceCount else {
            throw MRPError(.argument, "devices \(replicas) is outside 1 ... \(plugin.deviceCount), what \(device) has")
        }
        (matmulPrecision, self.replicas, self.compute, self.cache) = (precision, replicas, compute, cache)
    }

    public var precision: Precision { compute.precision }

    public func compile(_ graph: Graph, outputs: [Value], guards: [Value], state: [String: Tensor]) throws -> any Program {
        try DeviceProgram(graph, outputs: outputs, guards: guards, state: state, backend: self)
    }

    /// cuDNN's attention exists on NVIDIA's devices, for bfloat16.
    var attention: StableHLO.AttentionForm { plugin.platform == "cuda" && matmulPrecision == .medium ? .cudnn : .primitives }

    /// Compiles the text, or loads what it was compiled to before.
    func executable(_ program: PrimitiveProgram) throws -> Executable {
        let text = try StableHLO.text(program, precision: matmulPrecision, attention: attention, replicas: replicas)
        let flags = PluginPath.environment("XLA_FLAGS") ?? ""
        let store = cache.map { ExecutableCache(folder: $0, key: [text, plugin.platform, plugin.version, plugin.kind(of: 0), flags]) }
        if let bytes = store?.read(), let known = try? Executable(bytes, plugin, replicas) { return known }
        let compiled: Executable
        do {
            compiled = try Executable(text: text, plugin, replicas)
        } catch let error as MRPError where attention == .cudnn && error.code == .device {
            // A cuDNN that does not know the shape: the plain form is slower and always there.
            Log.warning("attention by cuDNN cannot be compiled, the slower plain form takes its place: \(error.message)")
            let plain = try StableHLO.text(program, precision: matmulPrecision, replicas: replicas)
            compiled = try Executable(text: plain, plugin, replicas)
        }
        if let store { compiled.withBytes { store.write($0) } }
        return compiled
    }
}

/// A compiled program on the device.
final class Executable {
    let handle: OpaquePointer

    init(text: String, _ plugin: Plugin, _ replicas: Int) throws {
        var text = text
        handle = try text.withUTF8 { bytes in
            let characters = UnsafeRawPointer(bytes.baseAddress)?.assumingMemoryBound(to: CChar.self)
            return try withOptions(PluginPath.compileOptions(plugin.path)) { options in
                try object("device \(plugin.platform)") {
                    pj_compile(plugin.client, characters, bytes.count, Int32(replicas), options.baseAddress, options.count, &$0, $1)
                }
            }
        }
    }

    /// What `withBytes` gave.
    init(_ bytes: Memory, _ plugin: Plugin, _ replicas: Int) throws {
        handle = try object("device \(plugin.platform)") { pj_load(plugin.client, bytes.base, bytes.bytes, Int32(replicas), &$0, $1) }
    }

    deinit { pj_executable_destroy(handle) }

    var outputCount: Int { pj_output_count(handle) }
    /// Device memory of a run, with its arguments and results; 0 where the plug-in does not say.
    var bytes: Int { max(0, Int(pj_run_bytes(handle))) }

    /// Calls the body with the executable as bytes, where the plug-in can give them.
    func withBytes(_ body: (UnsafeRawBufferPointer) -> Void) {
        withoutActuallyEscaping(body) { body in
            var box = BytesReceiver(body: body)
            withUnsafeMutablePointer(to: &box) { receiver in
                try? check("serialize") { error in
                    pj_serialize(
                        handle,
                        { context, bytes, size in
                            context?.assumingMemoryBound(to: BytesReceiver.self).pointee.body(
                                UnsafeRawBufferPointer(start: bytes, count: size))
                        }, receiver, error)
                }
            }
        }
    }
}

private struct BytesReceiver {
    let body: (UnsafeRawBufferPointer) -> Void
}
