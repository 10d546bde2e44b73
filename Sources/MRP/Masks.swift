// # 10. Dense prediction
//
// Classes of pixels: images with masks, and the maps of a model that was fine-tuned with "task" = "segment" (docs/dense.md). A mask has one id
// per pixel of its image. Pixels of the id "ignore_label" belong to no class: they are neither learned nor measured; an image all of whose
// pixels are ignored is unlabelled. Masks may tell objects apart instead of classes ("mask_kind" = "objects"; 0 is the ground), for "task" =
// "instances". Crops, flips and resizes of training move an image and its mask together. The number and the names of the
// classes are those of mrp_dataset_shape and mrp_dataset_class_name; mrp_evaluate and mrp_confusion measure such models too.

import CMRPTypes
import MRPData
import MRPEngine
import MRPModels
import MRPTraining

/// Opens a folder of images with masks in the layout of VOC, which CVAT writes too: `JPEGImages/NAME.jpg` (or `images`), `SegmentationClass/NAME.png`
/// (or `masks`), `ImageSets/Segmentation/SPLIT.txt` and `labelmap.txt` (a line "name:red,green,blue::" for each class, in the order of the ids).
/// Masks are PNGs: gray of 1 to 16 bits or palettes, whose numbers are the ids, or in the colours of labelmap.txt. An image without a mask is
/// unlabelled. Without labelmap.txt and "classes" all masks are looked at to count the classes. Images and masks are decoded when they are
/// needed; a mask of another size than its image, or with an id beyond the classes, is an error of the call that needs it, with its file and
/// the id.
///
/// - Parameters:
///   - path: the folder; any bytes.
///   - options: "mask_kind", "split", "ignore_label", "classes", "channels", "cache_bytes", "exif_orientation", "decode_bytes" and "decode_seconds" are read;
///     NULL for the defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (the folder, or the list of the split, cannot be read), MRP_ERR_FORMAT (folders, images or masks are missing; labelmap.txt
///   or the list of the split is none), MRP_ERR_ARGUMENT (NULL, other "classes" than labelmap.txt names, masks that tell no classes),
///   MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_open_masks")
public func mrp_dataset_open_masks(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    openDataset(path, options, out) { try Datasets.masks($0, $1) }
}

/// Makes a dataset with the same images and a mask for each. Masks are copied. Labels of the images are not kept: the classes are those of the
/// pixels.
///
/// - Parameters:
///   - dataset: the images, all of one size.
///   - masks: count x height x width ids, without gaps.
///   - type: MRP_UINT8, MRP_UINT16 or MRP_INT32.
///   - count: number of masks: that of the images.
///   - height: rows of each mask: those of the images.
///   - width: columns of each mask.
///   - options: "mask_kind", "ignore_label" and "classes" (auto: one more than the largest id) are read; NULL for the defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL, another count or size than that of the images, an id outside the classes, an "ignore_label" that the type
///   cannot hold), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_with_masks")
public func mrp_dataset_with_masks(
    _ dataset: UnsafePointer<mrp_dataset>?, _ masks: UnsafeRawPointer?, _ type: Int32, _ count: Int64, _ height: Int64, _ width: Int64,
    _ options: UnsafePointer<mrp_config>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        guard let masks else { throw MRPError(.argument, "masks is NULL") }
        let base = try Registry.find(dataset, DatasetHandle.self).dataset
        let types: [Int32: TargetType] = [Int32(MRP_UINT8): .uint8, Int32(MRP_UINT16): .uint16, Int32(MRP_INT32): .int32]
        guard let type = types[type] else { throw MRPError(.argument, "type \(type) is not MRP_UINT8, MRP_UINT16 or MRP_INT32") }
        let size = ImageSize(height: try MRP.size(height, "height"), width: try MRP.size(width, "width"))
        guard let own = base.imageSize else { throw MRPError(.argument, "the images differ in size: masks of one size do not fit them") }
        guard own == size else { throw MRPError(.argument, "the masks are \(size), the images \(own)") }
        let options = try MRP.options(options)
        try publish(
            MaskedDataset(
                base, masks: masks, type: type, count: MRP.size(count, "count"), size: size, kind: options[DataOptions.maskKind],
                fill: Int32(options[DataOptions.ignoreLabel]),
                classes: options[NetworkOptions.classes]), out)
    }
}

/// Generates scenes with masks, so that dense prediction can be tried without data: 3 to 6 discs, squares, triangles, bars, crosses and ellipses
/// of random colours on textured ground, which is class 0.
///
/// - Parameters:
///   - options: "mask_kind", "image_height", "image_width", "channels" and "synthetic_first_image" are read; NULL for the defaults.
///   - count: number of images.
///   - seed: fixes the images; sets with the same seed that do not overlap (see "synthetic_first_image") are a training and a test set.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (a number out of range, NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_generate_scenes")
public func mrp_dataset_generate_scenes(
    _ options: UnsafePointer<mrp_config>?, _ count: Int64, _ seed: UInt64,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    generateDataset(options, count, out) { try Datasets.scenes(count: $0, seed: seed, $1) }
}

/// The size of one image, which may differ from that of others.
///
/// - Parameters:
///   - index: the image, from 0.
///   - height: receives its rows.
///   - width: receives its columns.
/// - Errors: MRP_ERR_ARGUMENT (no such image, NULL), MRP_ERR_IO and MRP_ERR_FORMAT (its file cannot be read), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_image_size")
public func mrp_dataset_image_size(
    _ dataset: UnsafePointer<mrp_dataset>?, _ index: Int64, _ height: UnsafeMutablePointer<Int64>?, _ width: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let (height, width) = (try required(height, "height"), try required(width, "width"))
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        let size = try dataset.size(of: MRP.index(index, below: dataset.count, "image"))
        (height.pointee, width.pointee) = (Int64(size.height), Int64(size.width))
    }
}

/// Copies the mask of one image, at its own size.
///
/// - Parameters:
///   - index: the image, from 0.
///   - ids: receives height x width ids; of an unlabelled image all are "ignore_label".
///   - capacity: elements in `ids`.
///   - ignored: receives the id of pixels that belong to no class; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such image, NULL, too small), MRP_ERR_STATE (the dataset has no masks), MRP_ERR_IO and MRP_ERR_FORMAT (its files
///   cannot be read, or do not fit each other), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_mask")
public func mrp_dataset_mask(
    _ dataset: UnsafePointer<mrp_dataset>?, _ index: Int64, _ ids: UnsafeMutablePointer<Int32>?, _ capacity: Int64,
    _ ignored: UnsafeMutablePointer<Int32>?
) -> mrp_status {
    boundary {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        guard dataset.hasTargets else { throw MRPError(.state, "the dataset has no masks") }
        let index = try MRP.index(index, below: dataset.count, "image")
        let size = try dataset.size(of: index)
        let needed = try checkedProduct([size.height, size.width], bytesEach: 4)
        try Datasets.copyMask(dataset, index, into: output(ids, capacity: capacity, needed: needed, "ids"))
        ignored?.pointee = dataset.ignoredId
    }
}

/// Computes the class of each pixel by a model of "task" = "segment": the one with the largest score. As "map_mode" says, all of each image is
/// resized to the network's size and its scores are resized back (bilinear), or windows of the network's size slide over it.
///
/// - Parameters:
///   - dataset: the images.
///   - options: "map_mode", "window_overlap" and the sections "data" and "run" are read; NULL for the defaults.
///   - classes: receives height x width numbers for each image, at its own size (mrp_dataset_image_size), image after image; 65535 for an image
///     that cannot be read, with "unreadable_images" = "skip".
///   - capacity: elements in `classes`.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no head for pixels), MRP_ERR_ARGUMENT (NULL, capacity, images that do not fit the model), MRP_ERR_IO,
///   MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_segment")
public func mrp_segment(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ classes: UnsafeMutablePointer<UInt16>?, _ capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let needed = try inference.pixelCount(handle.dataset)
        return try inference.segment(handle.dataset, into: output(classes, capacity: capacity, needed: needed, "classes"))
    }
}

/// Computes the probabilities of the classes of each pixel, as mrp_segment computes the classes.
///
/// - Parameters:
///   - dataset: the images.
///   - options: as for mrp_segment.
///   - probabilities: receives height x width x classes numbers for each image, at its own size, image after image, the classes of a pixel
///     behind each other; NaN for an image that cannot be read, with "unreadable_images" = "skip".
///   - capacity: elements in `probabilities`.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: those of mrp_segment: MRP_ERR_STATE, MRP_ERR_ARGUMENT, MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE,
///   MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_segment_probabilities")
public func mrp_segment_probabilities(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ probabilities: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let needed = try checkedProduct([inference.pixelCount(handle.dataset), inference.namedClasses()])
        return try inference.classShares(
            handle.dataset, into: output(probabilities, capacity: capacity, needed: needed, "probabilities"))
    }
}

/// Finds the objects in images, whatever they are, by a model of "task" = "instances". All of each image is resized to the network's size, the masks are
/// resized back (bilinear). Instances are sorted by score; of two that overlap by more than a half the better one is given.
///
/// - Parameters:
///   - dataset: the images.
///   - options: the sections "data" and "run" are read, "score_threshold" (the least score, 0.3) and "most_instances" (of an image, 100); NULL for
///     the defaults.
///   - counts: receives the number of instances of each image; -1 for an image that cannot be read, with "unreadable_images" = "skip".
///   - scores: receives "most_instances" numbers for each image, the best first; NaN behind the last.
///   - boxes: receives four numbers for each score: left, top, right and bottom of the mask, one past the last pixel; may be NULL.
///   - capacity: elements in `scores`, and a quarter of those in `boxes`.
///   - ids: receives height x width numbers for each image, at its own size (mrp_dataset_image_size), image after image: 1, 2, ... for pixels of the
///     first, second, ... instance, 0 for others; where masks overlap, the better one has the pixel. May be NULL.
///   - ids_capacity: elements in `ids`; not read when it is NULL.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no head for instances), MRP_ERR_ARGUMENT (NULL, capacity, images that do not fit the model), MRP_ERR_IO,
///   MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_instances")
public func mrp_instances(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ counts: UnsafeMutablePointer<Int64>?, _ scores: UnsafeMutablePointer<Float>?, _ boxes: UnsafeMutablePointer<Int32>?,
    _ capacity: Int64, _ ids: UnsafeMutablePointer<UInt16>?, _ ids_capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let counts = UnsafeMutableBufferPointer(start: try required(counts, "counts"), count: handle.dataset.count)
        let needed = try checkedProduct([handle.dataset.count, inference.mostInstances], bytesEach: 16)
        let scores = try output(scores, capacity: capacity, needed: needed, "scores")
        let unread = try boxes == nil ? Memory(needed, elementBytes: 16, for: "the boxes of instances") : nil
        let map = try ids.map {
            try output($0, capacity: ids_capacity, needed: inference.pixelCount(handle.dataset), "ids")
        }
        return try withExtendedLifetime(unread) {
            let boxes = UnsafeMutableBufferPointer(start: boxes ?? unread?.typed(Int32.self).baseAddress, count: 4 * needed)
            return try inference.instances(handle.dataset, into: .init(counts: counts, scores: scores, boxes: boxes, ids: map))
        }
    }
}
