import CMRPKernels

/// 64 bits that tell apart what was added to it, in order. Not against people who want two things to have the same digest.
public struct Digest: Equatable, Sendable {
    public private(set) var value: UInt64 = 0

    public init() {}

    public mutating func add(_ bytes: UnsafeRawBufferPointer) { value = mk_digest(value, bytes.baseAddress, Int64(bytes.count)) }

    public mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }

    public mutating func add(_ number: Int) { withUnsafeBytes(of: number.littleEndian) { add($0) } }

    /// 16 hexadecimal digits.
    public var text: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
