// # 2. Options
//
// Every setting is a key with a text value: `mrp_config_set(config, "mask_ratio", "0.75")`. mrp_config_describe lists all keys
// with types, defaults, limits and meaning. Keys of training can be set for one phase only, as "pretrain.epochs" or
// "finetune.epochs"; the plain key sets both. Several threads may share a set of options.

import CMRPTypes
import MRPEngine
import MRPOptions
import MRPTraining

final class ConfigHandle: Handle {
    override class var kind: String { "config" }
    var options: Options
    init(_ options: Options) { self.options = options }
}

/// The options of a config that may be NULL: then the defaults. Reading and setting are short and locked, so that several threads may share
/// a config: it is never busy.
func options(_ config: UnsafePointer<mrp_config>?) throws -> Options {
    guard let config else { return Options() }
    let handle = try Registry.find(config, ConfigHandle.self)
    return Registry.locked { handle.options }
}

/// Makes a set of options: those of a preset, or the defaults.
///
/// - Parameters:
///   - preset: a name that mrp_config_describe lists, such as "mae_vit_tiny_32"; NULL for the defaults.
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (unknown preset, `out` is NULL).
///
/// Since 0.1.
@_cdecl("mrp_config_create")
public func mrp_config_create(_ preset: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_config>?>?)
    -> mrp_status
{
    boundary {
        let out = try required(out, "out")
        let values = try preset == nil ? Options() : Options(preset: string(preset, "preset"))
        out.pointee = try Registry.add(ConfigHandle(values), as: mrp_config.self)
    }
}

/// Sets one option. On an error nothing changes.
///
/// - Parameters:
///   - key: the option, such as "mask_ratio" or "finetune.epochs".
///   - value: its value as text; numbers with a point, flags as "true" or "false".
/// - Errors: MRP_ERR_ARGUMENT (unknown key: the text names the nearest one; value outside its limits: the text names them; NULL),
///   MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_config_set")
public func mrp_config_set(
    _ config: UnsafeMutablePointer<mrp_config>?, _ key: UnsafePointer<CChar>?, _ value: UnsafePointer<CChar>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(config, ConfigHandle.self)
        let (key, value) = (try string(key, "key"), try string(value, "value"))
        try Registry.locked { try handle.options.set(key, value) }
    }
}

/// Reads one option: what was set, or its default.
///
/// - Parameters:
///   - key: the option.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (unknown key, buffer too small: it then holds the beginning of the text), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_config_get")
public func mrp_config_get(
    _ config: UnsafePointer<mrp_config>?, _ key: UnsafePointer<CChar>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(config, ConfigHandle.self)
        let key = try string(key, "key")
        try write(Registry.locked { try handle.options.text(key) }, buffer, capacity, needed)
    }
}

/// Describes all options and presets as JSON: {"options": [{"key", "type", "default", "limits", "per_phase", "section",
/// "summary"}, ...], "presets": [{"name", "summary", "values"}, ...]}.
///
/// - Parameters:
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (buffer too small).
///
/// Since 0.1.
@_cdecl("mrp_config_describe")
public func mrp_config_describe(
    _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary { try write(OptionTable.training.describe().text(), buffer, capacity, needed) }
}

/// Destroys a set of options. NULL is allowed.
///
/// Since 0.1.
@_cdecl("mrp_config_destroy")
public func mrp_config_destroy(_ config: UnsafeMutablePointer<mrp_config>?) {
    Registry.remove(config)
}
