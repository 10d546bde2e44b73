import Glibc

/// A PJRT plug-in that computes on the processor, for tests of devices: MRP_TEST_PLUGIN, or what tools/setup_devices.sh has installed.
public enum DevicePlugin {
    /// Name of the device, as option `device` has it; nil where there is none.
    public static let device: String? = {
        if let path = getenv("MRP_TEST_PLUGIN") { return "pjrt:" + String(cString: path) }
        let root = String(#filePath.dropLast("Tests/TestSupport/DevicePlugin.swift".count))
        let path = root + "build/devices/lammps_jax_pjrt_cpu/pjrt_c_api_cpu_plugin.so"
        return access(path, R_OK) == 0 ? "pjrt:" + path : nil
    }()

    /// Printed by the tests that are skipped without one.
    public static let reason = "no PJRT plug-in for the processor: tools/setup_devices.sh installs it"
}
