// # 8. Devices
//
// Accelerators by PJRT plug-ins, which are found and loaded at run time: option "device" names one, everything else stays the same.
// docs/devices.md tells how to install one.

import CMRPTypes
import MRPDevice
import MRPEngine
import MRPTraining

/// Describes the devices that a plug-in sees as JSON: "plugin" (its path), "platform", "version", and "devices", each with "kind",
/// "bytes_in_use", "peak_bytes" and "bytes_limit" (null where the plug-in does not say). The plug-in is loaded and stays loaded.
///
/// - Parameters:
///   - device: "cuda", "rocm", "tpu" or "pjrt:/path/to/plugin.so"; "cpu" is the library's own engine.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_UNSUPPORTED (no such plug-in, another version of the interface, no device), MRP_ERR_ARGUMENT (unknown name, buffer
///   too small, NULL).
///
/// Since 0.1.
@_cdecl("mrp_device_describe")
public func mrp_device_describe(
    _ device: UnsafePointer<CChar>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let device = try string(device, "device")
        let description = device == "cpu" ? processor : try Plugin(device: device).description
        try write(description.text(), buffer, capacity, needed)
    }
}

/// The library's own engine, as plug-ins are described.
private var processor: JSON {
    let kind = "\(Compute.Instructions.best.rawValue) kernels"
    let device = JSON.object([("kind", .string(kind)), ("bytes_in_use", .null), ("peak_bytes", .null), ("bytes_limit", .null)])
    return .object([
        ("plugin", .null), ("platform", .string("cpu")), ("version", .string(String(cString: mrp_version()))),
        ("devices", .array([device])),
    ])
}

/// The number of devices that a plug-in sees.
///
/// - Parameters:
///   - device: as for mrp_device_describe; "cpu" has one.
///   - count: receives the number.
/// - Errors: MRP_ERR_UNSUPPORTED, MRP_ERR_ARGUMENT, as for mrp_device_describe.
///
/// Since 0.1.
@_cdecl("mrp_device_count")
public func mrp_device_count(_ device: UnsafePointer<CChar>?, _ count: UnsafeMutablePointer<Int64>?) -> mrp_status {
    boundary {
        let (device, count) = (try string(device, "device"), try required(count, "count"))
        count.pointee = device == "cpu" ? 1 : Int64(try Plugin(device: device).deviceCount)
    }
}

/// Writes the whole training step of a run (forward, backward, clipping, updates guarded by a finite loss) as a program for other runtimes,
/// and beside it `<path>.json`, which names arguments, results and which argument a result is the new value of. Matrix products have the
/// precision of option "matmul_precision".
///
/// - Parameters:
///   - format: "stablehlo": StableHLO text.
///   - path: the file; both are replaced as a whole.
/// - Errors: MRP_ERR_ARGUMENT (another format, NULL), MRP_ERR_IO (cannot be written), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_trainer_export")
public func mrp_trainer_export(
    _ trainer: UnsafeMutablePointer<mrp_trainer>?, _ format: UnsafePointer<CChar>?, _ path: UnsafePointer<CChar>?
) -> mrp_status {
    boundary {
        try Registry.exclusively(trainer, TrainerHandle.self) { handle in
            let format = try string(format, "format")
            guard format == "stablehlo" else { throw MRPError(.argument, "format '\(format)' is not stablehlo") }
            try StableHLOExport.write(handle.trainer, to: string(path, "path"))
        }
    }
}

/// Writes what a model computes as StableHLO text, weights as arguments, and `<path>.json` as mrp_trainer_export does.
///
/// - Parameters:
///   - path: the file; both are replaced as a whole.
///   - options: "batch_size" images at once, "matmul_precision", "features", "layer" and "classifier" as for mrp_model_export_onnx; NULL for
///     the defaults.
/// - Errors: MRP_ERR_IO (cannot be written), MRP_ERR_ARGUMENT (NULL, no such layer), MRP_ERR_MEMORY, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_export_stablehlo")
public func mrp_model_export_stablehlo(
    _ model: UnsafeMutablePointer<mrp_model>?, _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?
) -> mrp_status {
    writeFile(model, path, options, "StableHLO text") { try StableHLOExport.write($0, to: $1, $2) }
}
