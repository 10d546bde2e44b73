import CMRPImage
import CMRPPoints
import MRPEngine

/// Point clouds of as many points each in memory: x, y, z and features.
public final class PointDataset: ImageDataset {
    public let count: Int
    public let channels: Int
    public let pointsPerCloud: Int
    public var imageSize: ImageSize? { ImageSize(height: pointsPerCloud, width: 1) }
    public var pixelType: PixelType? { .float32 }
    public var isPointCloud: Bool { true }
    public var classNames: [String] { store?.classNames ?? [] }
    public var labels: UnsafeBufferPointer<Int32>? { store?.buffer }

    private let store: LabelStore?
    private let values: Memory

    /// Copies count x pointsPerCloud x channels values. Errors: `.argument` for sizes, labels or values out of range; `.memory`.
    public convenience init(
        copying points: UnsafePointer<Float>, count: Int, pointsPerCloud: Int, channels: Int = 3, labels: UnsafePointer<Int32>? = nil,
        classNames: [String]? = nil
    ) throws {
        let memory = try Self.memory(count: count, pointsPerCloud: pointsPerCloud, channels: channels)
        let total = memory.bytes / 4
        for first in stride(from: 0, to: total, by: 1 << 20) {
            try Interruption.check()
            let part = min(1 << 20, total - first)
            let bad = Int(mi_first_nonfinite(points + first, Int64(part)))
            if bad >= 0 {
                let place = (first + bad) / channels
                throw MRPError(
                    .argument,
                    "point \(place % pointsPerCloud) of cloud \(place / pointsPerCloud) holds \(points[first + bad]): points must be finite"
                )
            }
            (memory.base + 4 * first).copyMemory(from: points + first, byteCount: 4 * part)
        }
        try self.init(
            memory, count: count, pointsPerCloud: pointsPerCloud, channels: channels,
            labels: labels.map { UnsafeBufferPointer(start: $0, count: count) }, classNames: classNames)
    }

    /// Generated surfaces, `MP_SHAPES` classes by turns: the clouds first ..< first + count of the endless sequence that the seed fixes.
    public static func shapes(count: Int, points: Int = 1024, seed: UInt64 = 0, first: Int = 0) throws -> PointDataset {
        guard first >= 0, first <= 1 << 40 else { throw MRPError(.argument, "first cloud \(first) is outside 0 ... \(1 << 40)") }
        let memory = try memory(count: count, pointsPerCloud: points, channels: 3)
        let labels = try Memory(bytes: count * 4, for: "\(count) labels")
        let values = memory.typed(Float.self).baseAddress
        for index in 0..<count {
            try Interruption.check()
            mp_shape(seed, Int64(first + index), Int64(points), values.map { $0 + index * points * 3 })
            labels.typed(Int32.self)[index] = Int32((first + index) % Int(MP_SHAPES))
        }
        return try PointDataset(
            memory, count: count, pointsPerCloud: points, channels: 3, labels: UnsafeBufferPointer(labels.typed(Int32.self)),
            classNames: (0..<Int32(MP_SHAPES)).map { String(cString: mp_shape_name($0)) })
    }

    private static func memory(count: Int, pointsPerCloud: Int, channels: Int) throws -> Memory {
        guard count >= 1 else { throw MRPError(.argument, "count \(count) is below 1: a dataset needs a cloud") }
        guard (1...Int(MP_MAX_POINTS)).contains(pointsPerCloud) else {
            throw MRPError(.argument, "\(pointsPerCloud) points of a cloud are outside 1 ... \(MP_MAX_POINTS)")
        }
        guard (3...Int(MP_MAX_CHANNELS)).contains(channels) else {
            throw MRPError(.argument, "points of \(channels) values are outside 3 ... \(MP_MAX_CHANNELS): x, y, z, features")
        }
        let what = "\(count) clouds of \(pointsPerCloud) points"
        return try Memory(bytes: checkedProduct([count, pointsPerCloud, channels, 4], what, code: .argument), for: what)
    }

    private init(
        _ values: Memory, count: Int, pointsPerCloud: Int, channels: Int, labels: UnsafeBufferPointer<Int32>?, classNames: [String]?
    ) throws {
        store = try labels.map { try LabelStore(copying: $0, classCount: nil, classNames: classNames) }
        (self.values, self.count, self.pointsPerCloud, self.channels) = (values, count, pointsPerCloud, channels)
    }

    public func load(_ index: Int, into workspace: ImageWorkspace) throws {
        let size = ImageSize(height: pointsPerCloud, width: 1)
        workspace.show(PixelView(values.base + index * pointsPerCloud * channels * 4, size, channels: channels, type: .float32))
    }

    public func name(of index: Int) -> String { "cloud \(index)" }
}
