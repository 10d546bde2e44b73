// # 11. Point clouds
//
// Clouds of points x, y, z and features, for the encoders "point_micro", "point_mini" and "point_small" (docs/points.md). They are datasets as
// images are, and every function that takes a model takes them with such a model. mrp_dataset_shape gives the values of a point as channels, the
// points of a cloud as height, and a width of 1; files may have different numbers of points: then height is 0, and mrp_dataset_image_size gives
// that of one.

import CMRPTypes
import MRPData
import MRPEngine
import MRPTraining

/// Makes a dataset of point clouds in memory. Points and labels are copied.
///
/// - Parameters:
///   - points: count x points_each x channels values, without gaps: x, y, z and features of each point.
///   - count: number of clouds, at least 1.
///   - points_each: points of each cloud.
///   - channels: values of each point, 3 to 64.
///   - labels: a class 0, 1, ... for each cloud, or NULL.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL, a size out of range, NaN or infinity in the points, a negative label), MRP_ERR_MEMORY.
///
/// Since 0.1.
@_cdecl("mrp_dataset_from_points")
public func mrp_dataset_from_points(
    _ points: UnsafePointer<Float>?, _ count: Int64, _ points_each: Int64, _ channels: Int64, _ labels: UnsafePointer<Int32>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        guard let points else { throw MRPError(.argument, "points is NULL") }
        try publish(
            PointDataset(
                copying: points, count: size(count, "count"), pointsPerCloud: size(points_each, "points_each"),
                channels: size(channels, "channels"), labels: labels), out)
    }
}

/// Opens a folder of point clouds: `<path>/<class>/<name>` with labels, or `<path>/<name>` without; .npy, .xyz, .txt, .pts, .csv, .ply and .off files.
/// Classes and files are ordered by the bytes of their names. Files are read when they are needed; meshes give points drawn on their faces,
/// the same each time.
///
/// - Parameters:
///   - path: the folder; any bytes.
///   - options: "point_features" and "face_samples" are read; NULL for the defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (the folder cannot be read), MRP_ERR_FORMAT (it or a class folder holds no such files), MRP_ERR_ARGUMENT (NULL; files
///   beside folders), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_open_points")
public func mrp_dataset_open_points(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    openDataset(path, options, out) { try Datasets.pointFolder($0, $1) }
}

/// Generates point clouds on the surfaces of ten simple shapes (ellipsoids, boxes, cylinders, cones, tori, ...), so that everything can be tried without
/// data. Cloud i shows shape i % 10.
///
/// - Parameters:
///   - options: "points" and "synthetic_first_image" are read; NULL for the defaults.
///   - count: number of clouds.
///   - seed: fixes the clouds; sets with the same seed that do not overlap (see "synthetic_first_image") are a training and a test set.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (a number out of range, NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_generate_points")
public func mrp_dataset_generate_points(
    _ options: UnsafePointer<mrp_config>?, _ count: Int64, _ seed: UInt64,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    generateDataset(options, count, out) { try Datasets.shapes(count: $0, seed: seed, $1) }
}

/// Copies the points of one cloud, as they are in the array or the file.
///
/// - Parameters:
///   - index: the cloud, from 0.
///   - points: receives points x channels values, point after point (mrp_dataset_image_size gives the points as height).
///   - capacity: elements in `points`.
/// - Errors: MRP_ERR_ARGUMENT (no such cloud, NULL, too small), MRP_ERR_STATE (a dataset of images), MRP_ERR_IO and MRP_ERR_FORMAT (its file cannot
///   be read), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_points")
public func mrp_dataset_points(
    _ dataset: UnsafePointer<mrp_dataset>?, _ index: Int64, _ points: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    boundary {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        guard dataset.isPointCloud else { throw MRPError(.state, "the dataset holds images, not point clouds") }
        let index = try MRP.index(index, below: dataset.count, "cloud")
        try Datasets.copyPoints(dataset, index) { try output(points, capacity: capacity, needed: $0, "points") }
    }
}
