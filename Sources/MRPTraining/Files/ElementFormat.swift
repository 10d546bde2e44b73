/// The element types of the safetensors format; the raw value is the name in a file.
public enum ElementFormat: String, CaseIterable, Sendable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint64 = "U64"
    case uint32 = "U32"
    case uint16 = "U16"
    case uint8 = "U8"
    case bool = "BOOL"
    case complex64 = "C64"
    case float8e5m2 = "F8_E5M2"
    case float8e4m3 = "F8_E4M3"
    case float8e8m0 = "F8_E8M0"
    case float6e2m3 = "F6_E2M3"
    case float6e3m2 = "F6_E3M2"
    case float4 = "F4"

    public var bits: Int {
        switch self {
        case .float64, .int64, .uint64, .complex64: 64
        case .float32, .int32, .uint32: 32
        case .float16, .bfloat16, .int16, .uint16: 16
        case .int8, .uint8, .bool, .float8e5m2, .float8e4m3, .float8e8m0: 8
        case .float6e2m3, .float6e3m2: 6
        case .float4: 4
        }
    }

    /// Whether its numbers can be read as weights.
    public var isWeight: Bool { self == .float64 || self == .float32 || self == .float16 || self == .bfloat16 }
}

/// Conversions between float32 and the two 16-bit formats; round to nearest, ties to even.
public enum FloatFormats {
    public static let largestHalf: Float = 65_504

    public static func float(half: UInt16) -> Float {
        let (sign, exponent, fraction) = (UInt32(half >> 15) << 31, UInt32(half >> 10) & 31, UInt32(half & 1023))
        switch exponent {
        case 0: return (sign == 0 ? 1 : -1) * Float(fraction) * 0x1p-24
        case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
        default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
        }
    }

    public static func half(_ value: Float) -> UInt16 {
        let sign = UInt16(value.bitPattern >> 16) & 0x8000
        let size = value.magnitude
        if value.isNaN { return sign | 0x7e00 }
        if size >= 65_520 { return sign | 0x7c00 }
        // Below the normal numbers the step is 2^-24; adding 1/2 of float32 at that step rounds to it.
        if size < 0x1p-14 { return sign | UInt16((size * 0x1p24).rounded(.toNearestOrEven)) }
        let bits = size.bitPattern
        let rounded = bits + 0xfff + (bits >> 13 & 1)
        return sign | UInt16((rounded >> 13) - 112 << 10)
    }

    public static func float(bfloat: UInt16) -> Float { Float(bitPattern: UInt32(bfloat) << 16) }

    public static func bfloat(_ value: Float) -> UInt16 {
        if value.isNaN { return UInt16(value.bitPattern >> 16) | 0x40 }
        let bits = value.bitPattern
        return UInt16((bits &+ 0x7fff &+ (bits >> 16 & 1)) >> 16)
    }
}
