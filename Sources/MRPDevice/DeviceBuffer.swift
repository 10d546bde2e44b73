import CMRPDevice
import MRPEngine

/// A tensor on the device.
final class DeviceBuffer {
    let handle: OpaquePointer

    /// Takes over a buffer that a run gave.
    init(_ handle: OpaquePointer) { self.handle = handle }

    /// Copies host memory, which may be used again when `event` is ready; without an event, at once.
    init(
        _ memory: UnsafeRawPointer?, _ type: PrimitiveType, _ plugin: Plugin, device: Int = 0,
        event: UnsafeMutablePointer<OpaquePointer?>? = nil
    ) throws {
        let dimensions = type.shape.map(Int64.init)
        handle = try object("device \(plugin.platform)") {
            pj_upload(
                plugin.client, Int32(device), memory, Self.code(type.element), dimensions, dimensions.count, &$0, event, $1)
        }
    }

    deinit { pj_buffer_destroy(handle) }

    func download(to memory: UnsafeMutableRawPointer, bytes: Int) throws {
        try withExtendedLifetime(self) { try check("the device's memory") { pj_download(handle, memory, bytes, $0) } }
    }

    private static func code(_ element: PrimitiveElement) -> Int32 {
        switch element {
        case .f32: Int32(PJRT_TYPE_F32)
        case .f64: Int32(PJRT_TYPE_F64)
        case .i32: Int32(PJRT_TYPE_S32)
        case .i1: Int32(PJRT_TYPE_PRED)
        }
    }
}
