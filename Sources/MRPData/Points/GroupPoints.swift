import CMRPPoints
import MRPEngine

/// A point cloud becomes groups: points are drawn, moved into the unit ball, changed at random in training, and grouped around centres. The
/// image that comes out has a row for each group, first the centre, then its nearest points less the centre.
///
/// In training the points and the first centre are drawn anew; in evaluation all follow from the cloud alone, and but for equal distances not
/// from the order of its points.
public struct GroupPoints: AugmentationStep {
    let points: Int
    let groups: Int
    let groupSize: Int
    /// Changes in training; nil: evaluation.
    let change: mp_change?

    /// Errors: `.argument` where groups are larger than the cloud, or more than its points.
    public init(points: Int, groups: Int, groupSize: Int, change: mp_change?) throws {
        guard groups >= 1, groupSize >= 1, groups <= points, groupSize <= points else {
            throw MRPError(.argument, "\(groups) groups of \(groupSize) points need at least as many points as either: points is \(points)")
        }
        (self.points, self.groups, self.groupSize, self.change) = (points, groups, groupSize, change)
    }

    public var name: String { "group_points" }

    public func outputSize(for input: ImageSize?, channels: Int) throws -> ImageSize? {
        guard input?.width ?? 1 == 1, channels >= 3 else {
            throw MRPError(.argument, "\(name) takes point clouds of at least x, y, z")
        }
        return ImageSize(height: groups, width: 1 + groupSize)
    }

    public func apply(_ workspace: ImageWorkspace, _ random: inout SampleRandom) throws {
        let image = workspace.image
        guard image.pixelType == .float32, image.width == 1, image.channels >= 3, image.height >= 1, image.height <= Int64(MP_MAX_POINTS)
        else { throw MRPError(.argument, "\(name) takes point clouds of at least x, y, z") }
        let channels = Int(image.channels)
        let made = try workspace.makeImage(ImageSize(height: groups, width: 1 + groupSize), channels: channels, type: .float32)
        let larger = max(Int(image.height), points)
        // Scratch: the drawn points, index lists, what grouping needs.
        let parts = [points * channels * 4, larger * 4, groups * (1 + groupSize) * 4].map { ($0 + 63) / 64 * 64 }
        let grouping = Int(mp_groups_scratch(Int64(larger), Int64(groupSize)))
        let scratch = try workspace.resamplingScratch(parts.reduce(grouping, +))
        let drawn = scratch.assumingMemoryBound(to: Float.self)
        let order = (scratch + parts[0]).assumingMemoryBound(to: Int32.self)
        let ids = (scratch + parts[0] + parts[1]).assumingMemoryBound(to: Int32.self)
        let rest = scratch + parts[0] + parts[1] + parts[2]
        var cloud = mp_cloud(points: image.pixels.assumingMemoryBound(to: Float.self), count: image.height, channels: image.channels)
        if change != nil {
            mp_draw(&cloud, Int64(points), seed(&random), order, drawn)
        } else {
            mp_draw_farthest(&cloud, Int64(points), order, rest, drawn)
        }
        mp_to_unit_ball(drawn, Int64(points), image.channels)
        if var change { mp_apply_change(drawn, Int64(points), image.channels, &change, seed(&random)) }
        var seen = mp_cloud(points: drawn, count: Int64(points), channels: image.channels)
        mp_group_image(&seen, 0, Int64(groups), Int64(groupSize), ids, rest, made.pixels.assumingMemoryBound(to: Float.self))
        workspace.replace(made)
    }

    private func seed(_ random: inout SampleRandom) -> UInt64 { UInt64(random.word()) << 32 | UInt64(random.word()) }
}
