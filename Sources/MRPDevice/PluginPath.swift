import Glibc
import MRPEngine

/// Place of a device's plug-in.
enum PluginPath {
    /// Names of devices, and where packages put their plug-ins below a folder of Python packages.
    static let known: [(device: String, files: [String])] = [
        (
            "cuda",
            ["jax_plugins/xla_cuda13/xla_cuda_plugin.so", "jax_plugins/xla_cuda12/xla_cuda_plugin.so"]
        ),
        (
            "rocm",
            [
                "jax_plugins/xla_rocm7/xla_rocm_plugin.so", "jax_plugins/xla_rocm10/xla_rocm_plugin.so",
                "jax_plugins/xla_rocm60/xla_rocm_plugin.so",
            ]
        ),
        ("tpu", ["libtpu/libtpu.so"]),
    ]

    private static let prefix = "pjrt:"

    /// `pjrt:/path`; for other names the path in MRP_PJRT_PLUGIN, then the packages in the folders of MRP_PLUGIN_FOLDERS, which the Python
    /// package sets to where the running Python has its packages.
    static func find(_ device: String) throws -> String {
        if device.hasPrefix(prefix) {
            let path = String(device.dropFirst(prefix.count))
            guard access(path, R_OK) == 0 else {
                throw MRPError(.unsupported, "device \(device): there is no plug-in at \(path)")
            }
            return path
        }
        guard let files = known.first(where: { $0.device == device })?.files else {
            throw MRPError(
                .argument, "device '\(device)' is none of: cpu, \(known.map(\.device).joined(separator: ", ")), pjrt:/path/to/plugin.so")
        }
        if let path = environment("MRP_PJRT_PLUGIN") { return path }
        let folders = environment("MRP_PLUGIN_FOLDERS")?.split(separator: ":").map(String.init) ?? []
        for file in files {
            for folder in folders where access(folder + "/" + file, R_OK) == 0 { return folder + "/" + file }
        }
        let package = device == "cuda" ? "jax-cuda13-pjrt" : device == "rocm" ? "jax-rocm7-pjrt" : "libtpu"
        throw MRPError(
            .unsupported,
            "device \(device): no plug-in was found (\(files.joined(separator: ", "))): pip install \(package), or name it: device=pjrt:/path/to/plugin.so"
        )
    }

    static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        let text = String(cString: value)
        return text.isEmpty ? nil : text
    }

    private static func isGPU(_ path: String) -> Bool { path.contains("cuda") || path.contains("rocm") }

    /// Options of a client: an unknown one is an error there, so each platform gets its own. A GPU's memory is not taken in advance, or other
    /// programs and libraries starve; a processor is seen as eight devices, for tests of several.
    static func clientOptions(_ path: String) -> [PluginOption] {
        if isGPU(path) { return [PluginOption(name: "preallocate", content: .flag(false))] }
        return path.contains("cpu") ? [PluginOption(name: "cpu_device_count", content: .number(8))] : []
    }

    /// Options of a compilation: CUDA's compiler looks for its own library and assembler in a package beside the plug-in's.
    static func compileOptions(_ path: String) -> [PluginOption] {
        guard path.contains("cuda"), let end = path.range(of: "/jax_plugins/")?.lowerBound else { return [] }
        let folder = path[..<end] + "/nvidia/cu13"
        guard access(String(folder) + "/nvvm/libdevice/libdevice.10.bc", R_OK) == 0 else { return [] }
        return [PluginOption(name: "xla_gpu_cuda_data_dir", content: .text(String(folder)))]
    }
}

extension String {
    /// The first place of a text.
    fileprivate func range(of text: String) -> Range<Index>? {
        var place = startIndex
        while place < endIndex {
            if self[place...].hasPrefix(text) { return place..<index(place, offsetBy: text.count) }
            place = index(after: place)
        }
        return nil
    }
}
