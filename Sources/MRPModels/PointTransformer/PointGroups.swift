import MRPEngine
import MRPOptions

/// Groups of a point cloud as an encoder wants them. The loader makes them: each group is a row of an image, 1 + `size` pixels of the
/// channels x, y, z and features: the group's centre, then its nearest points less the centre. So masks, batches, files and datasets know
/// nothing of points: a patch is a row.
public struct PointGroups: Equatable, Sendable {
    public let count: Int
    public let size: Int

    public static let maximum = 4_096

    /// Throws when a number is out of range.
    public init(count: Int, size: Int) throws {
        for (name, value) in [("groups", count), ("group_size", size)] where value < 1 || value > Self.maximum {
            throw MRPError(.argument, "\(name) \(value) is outside 1 ... \(Self.maximum)")
        }
        (self.count, self.size) = (count, size)
    }

    public func geometry(channels: Int) throws -> PatchGeometry {
        guard (3...64).contains(channels) else {
            throw MRPError(.argument, "points of \(channels) values are outside 3 ... 64: x, y, z, features")
        }
        return try PatchGeometry(channels: channels, height: count, width: 1 + size, patchHeight: 1, patchWidth: 1 + size)
    }
}

/// Options of encoders of point clouds.
public enum PointOptions {
    public static let groups = Option(
        "groups", .integer(1...PointGroups.maximum), auto: "the point encoder's", section: .network,
        "Groups of a point cloud, one token each: centres by farthest point sampling.")
    public static let groupSize = Option(
        "group_size", .integer(1...PointGroups.maximum), auto: "the point encoder's", section: .network,
        "Points of a group, the nearest of its centre.")
    public static let qkvBias = Option(
        "qkv_bias", .flag, default: false, section: .network,
        "Whether query, key and value of a point encoder have a bias: Point-MAE's have none.")
}
