import CMRPImage
import MRPEngine

/// Inputs of the losses of instances, made of the ids of the objects of an image (`mi_instance_targets`).
public final class InstanceTargets {
    /// Targets of one image. Shares are -1 where no pixel is known.
    public struct Places {
        /// 1 for each positive cell of the grid, 0, or -1 where most pixels are not known.
        public let objectness: UnsafeMutablePointer<Float>
        /// The positive cells, then -1.
        public let cells: UnsafeMutablePointer<Int32>
        /// For each of these the share of its object in each place of the map; 0 behind the last.
        public let masks: UnsafeMutablePointer<Float>
        /// The largest share of an object in each place.
        public let foreground: UnsafeMutablePointer<Float>

        public init(
            objectness: UnsafeMutablePointer<Float>, cells: UnsafeMutablePointer<Int32>, masks: UnsafeMutablePointer<Float>,
            foreground: UnsafeMutablePointer<Float>
        ) { (self.objectness, self.cells, self.masks, self.foreground) = (objectness, cells, masks, foreground) }
    }

    private var targets: mi_instance_targets
    private let scratch: Memory

    /// For images of this size, a grid of cells and maps of masks; `most`: positive cells of an image. Errors: `.memory`.
    public init(_ size: ImageSize, grid: ImageSize, map: ImageSize, most: Int, ignored: Int32) throws {
        targets = mi_instance_targets()
        (targets.height, targets.width) = (Int64(size.height), Int64(size.width))
        (targets.grid_rows, targets.grid_columns) = (Int64(grid.height), Int64(grid.width))
        (targets.map_rows, targets.map_columns) = (Int64(map.height), Int64(map.width))
        (targets.most, targets.ignored) = (Int64(most), ignored)
        scratch = try Memory(bytes: Int(mi_instance_scratch(&targets)), for: "the objects of an image")
    }

    /// Number of positive cells. Where it is above `most`, nothing else is written.
    public func fill(_ places: Places, from ids: UnsafePointer<Int32>) -> Int {
        targets.objectness = places.objectness
        targets.cells = places.cells
        targets.masks = places.masks
        targets.foreground = places.foreground
        return Int(mi_instance_targets_make(&targets, ids, scratch.base))
    }
}
