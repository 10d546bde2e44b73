import CMRPDevice
import MRPEngine

/// A PJRT plug-in and the devices that it sees. It is loaded when it is first asked for and stays loaded.
public struct Plugin: @unchecked Sendable {
    let client: OpaquePointer
    public let path: String

    /// Loads the plug-in that the name of a device stands for.
    ///
    /// Errors: `.unsupported` when there is no such plug-in, when it has another version of the interface, or when it sees no device.
    public init(device: String) throws {
        let path = try PluginPath.find(device)
        self.path = path
        let options = PluginPath.clientOptions(path)
        client = try withOptions(options) { values in
            try object("device \(device): \(path)", missing: .unsupported) { pj_open(path, values.baseAddress, values.count, &$0, $1) }
        }
        guard deviceCount > 0 else { throw MRPError(.unsupported, "device \(device): \(path) sees no device") }
    }

    public var platform: String { String(cString: pj_platform(client)) }
    public var version: String { String(cString: pj_version(client)) }
    public var deviceCount: Int { Int(pj_device_count(client)) }

    public func kind(of device: Int) -> String {
        device >= 0 && device < deviceCount ? String(cString: pj_device_kind(client, Int32(device))) : ""
    }

    /// Bytes in use, at their peak and in all; nil where the plug-in does not say.
    public func memory(of device: Int) -> (inUse: Int?, peak: Int?, limit: Int?) {
        var (inUse, peak, limit) = (Int64(-1), Int64(-1), Int64(-1))
        guard device >= 0, device < deviceCount else { return (nil, nil, nil) }
        pj_memory(client, Int32(device), &inUse, &peak, &limit)
        func known(_ bytes: Int64) -> Int? { bytes >= 0 ? Int(bytes) : nil }
        return (known(inUse), known(peak), known(limit))
    }

    /// Path, platform, version and devices.
    public var description: JSON {
        func bytes(_ count: Int?) -> JSON { count.map { .integer($0) } ?? .null }
        let devices = (0..<deviceCount).map { device -> JSON in
            let memory = memory(of: device)
            return .object([
                ("kind", .string(kind(of: device))), ("bytes_in_use", bytes(memory.inUse)), ("peak_bytes", bytes(memory.peak)),
                ("bytes_limit", bytes(memory.limit)),
            ])
        }
        return .object([
            ("plugin", .string(path)), ("platform", .string(platform)), ("version", .string(version)), ("devices", .array(devices)),
        ])
    }
}

// MARK: Calls of the client

/// Runs a call that may fail; its code becomes an error with the plug-in's text.
func check(_ what: String, missing: MRPError.Code = .device, _ body: (UnsafeMutablePointer<CChar>) -> Int32) throws {
    let room = Int(PJ_TEXT)
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: room) { text in
        text.initialize(repeating: 0)
        guard let base = text.baseAddress else { return }
        let code = Int(body(base))
        guard code != Int(PJ_OK) else { return }
        let kind: MRPError.Code = code == Int(PJ_MEMORY) ? .memory : code == Int(PJ_MISSING) ? missing : .device
        throw MRPError(kind, "\(what): \(String(cString: base))")
    }
}

/// The object that a call makes.
func object(
    _ what: String, missing: MRPError.Code = .device, _ body: (inout OpaquePointer?, UnsafeMutablePointer<CChar>) -> Int32
) throws -> OpaquePointer {
    var result: OpaquePointer?
    try check(what, missing: missing) { body(&result, $0) }
    guard let result else { throw MRPError(.internalError, "\(what): the plug-in gave nothing") }
    return result
}

/// An option of a client or of a compilation.
struct PluginOption {
    enum Content {
        case text(String)
        case number(Int)
        case flag(Bool)
    }

    let name: String
    let content: Content
}

/// The options as the client takes them; the texts live during the call.
func withOptions<Result>(_ options: [PluginOption], _ body: (UnsafeBufferPointer<pj_option>) throws -> Result) rethrows -> Result {
    func add(_ rest: ArraySlice<PluginOption>, _ values: [pj_option]) throws -> Result {
        guard let option = rest.first else { return try values.withUnsafeBufferPointer(body) }
        return try option.name.withCString { name in
            switch option.content {
            case .text(let text):
                try text.withCString {
                    try add(rest.dropFirst(), values + [pj_option(name: name, text: $0, number: 0, is_flag: false)])
                }
            case .number(let number):
                try add(rest.dropFirst(), values + [pj_option(name: name, text: nil, number: Int64(number), is_flag: false)])
            case .flag(let flag):
                try add(rest.dropFirst(), values + [pj_option(name: name, text: nil, number: flag ? 1 : 0, is_flag: true)])
            }
        }
    }
    return try add(options[...], [])
}
