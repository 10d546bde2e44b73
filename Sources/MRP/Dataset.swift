// # 3. Datasets
//
// Images with or without labels: arrays of the caller, folders, or images that the library generates. A dataset never changes, so
// several models and threads may use one at the same time.

import CMRPTypes
import Glibc
import MRPData
import MRPEngine
import MRPOptions
import MRPTraining

final class DatasetHandle: Handle {
    override class var kind: String { "dataset" }
    let dataset: ImageDataset
    init(_ dataset: ImageDataset) { self.dataset = dataset }
}

func publish(_ dataset: ImageDataset, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>) throws {
    out.pointee = try Registry.add(DatasetHandle(dataset), as: mrp_dataset.self)
}

/// Opens a dataset in a folder.
func openDataset(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?, _ open: (FilePath, Options) throws -> ImageDataset
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        guard let path else { throw MRPError(.argument, "path is NULL") }
        try publish(open(FilePath(path), MRP.options(options)), out)
    }
}

/// Makes a dataset that the library draws.
func generateDataset(
    _ options: UnsafePointer<mrp_config>?, _ count: Int64, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?,
    _ make: (_ count: Int, Options) throws -> ImageDataset
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        try publish(make(size(count, "count"), MRP.options(options)), out)
    }
}

private func arrayDataset(
    _ pixels: UnsafeRawPointer?, _ type: Int32, _ shape: [Int64], _ layout: Int32, _ labels: UnsafePointer<Int32>?,
    release: (() -> Void)?
) throws -> ArrayDataset {
    guard let pixels else { throw MRPError(.argument, "pixels is NULL") }
    let types: [Int32: PixelType] = [Int32(MRP_UINT8): .uint8, Int32(MRP_UINT16): .uint16, Int32(MRP_FLOAT32): .float32]
    guard let pixelType = types[type] else {
        throw MRPError(.argument, "type \(type) is not MRP_UINT8, MRP_UINT16 or MRP_FLOAT32")
    }
    guard layout == Int32(MRP_NCHW) || layout == Int32(MRP_NHWC) else {
        throw MRPError(.argument, "layout \(layout) is not MRP_NCHW or MRP_NHWC")
    }
    let sizes = try zip(shape, ["count", "channels", "height", "width"]).map { try size($0, $1) }
    return try ArrayDataset(
        pixels: pixels, type: pixelType, layout: layout == Int32(MRP_NCHW) ? .channelsFirst : .channelsLast, count: sizes[0],
        channels: sizes[1], size: ImageSize(height: sizes[2], width: sizes[3]), labels: labels, release: release)
}

/// Makes a dataset of images in memory. Pixels and labels are copied.
///
/// - Parameters:
///   - pixels: count x channels x height x width values, or count x height x width x channels, without gaps.
///   - type: MRP_UINT8 (0 ... 255), MRP_UINT16 (0 ... 65535) or MRP_FLOAT32 (any finite values).
///   - count: number of images, at least 1.
///   - channels: channels of each image.
///   - height: rows of pixels.
///   - width: columns of pixels.
///   - layout: MRP_NCHW or MRP_NHWC.
///   - labels: a class 0, 1, ... for each image, or NULL.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL, a size of 0 or beyond the limit, NaN or infinity in the images, a negative label), MRP_ERR_MEMORY.
///
/// Since 0.1.
@_cdecl("mrp_dataset_from_array")
public func mrp_dataset_from_array(
    _ pixels: UnsafeRawPointer?, _ type: Int32, _ count: Int64, _ channels: Int64, _ height: Int64, _ width: Int64, _ layout: Int32,
    _ labels: UnsafePointer<Int32>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        try publish(arrayDataset(pixels, type, [count, channels, height, width], layout, labels, release: nil), out)
    }
}

/// Like mrp_dataset_from_array, without copying the pixels: the caller keeps them alive and unchanged until the dataset and all
/// subsets of it are destroyed. Labels are copied.
///
/// - Parameters:
///   - pixels: count x channels x height x width values, or count x height x width x channels, without gaps.
///   - type: MRP_UINT8, MRP_UINT16 or MRP_FLOAT32.
///   - count: number of images, at least 1.
///   - channels: channels of each image.
///   - height: rows of pixels.
///   - width: columns of pixels.
///   - layout: MRP_NCHW or MRP_NHWC.
///   - labels: a class 0, 1, ... for each image, or NULL.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (as for mrp_dataset_from_array; pixels not aligned to their type), MRP_ERR_MEMORY.
///
/// Since 0.1.
@_cdecl("mrp_dataset_wrap_array")
public func mrp_dataset_wrap_array(
    _ pixels: UnsafeRawPointer?, _ type: Int32, _ count: Int64, _ channels: Int64, _ height: Int64, _ width: Int64, _ layout: Int32,
    _ labels: UnsafePointer<Int32>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        try publish(arrayDataset(pixels, type, [count, channels, height, width], layout, labels, release: {}), out)
    }
}

/// Opens a folder of JPEG and PNG images: `<path>/<class>/<image>` with labels, `<path>/<coarse>/<fine>/<image>` with those of a label tree, whose
/// classes are called "coarse/fine" (see "label_level"), or `<path>/<image>` without. Classes and images are
/// ordered by the bytes of their names. Images are decoded when they are needed; gray and colour images may be mixed when the
/// option "channels" says how many channels are wanted. Image files that are not used, since they are of another format, lie further
/// down or beside class folders, are counted in one warning of the log.
///
/// - Parameters:
///   - path: the folder; any bytes. A class whose name is not UTF-8 is called with \xNN in place of the bytes that are not.
///   - options: "channels", "cache_bytes", "folder_layout", "exif_orientation", "decode_bytes" and "decode_seconds" are read; NULL for the
///     defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (the folder cannot be read), MRP_ERR_FORMAT (it or a class folder holds no JPEG or PNG files, or of the up to 64 whose
///   headers are read not one is an image; a bad file among good ones is an error of the call that needs it), MRP_ERR_ARGUMENT (NULL; images
///   beside folders or classes at different depths, and "folder_layout" does not say what they are), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_open_folder")
public func mrp_dataset_open_folder(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    openDataset(path, options, out) { try Datasets.folder($0, $1) }
}

/// Generates small colour images of two-part objects, so that everything can be tried without data: each class has two independent
/// discriminative parts; multi-view images show both, single-view images one (the image form of the multi-view data of
/// arXiv 2206.03826), on textured backgrounds with clutter. Image i has label i % classes.
///
/// - Parameters:
///   - options: "image_height", "image_width", "channels", "synthetic_classes", "synthetic_single_view" and "synthetic_first_image"
///     are read; NULL for the defaults.
///   - count: number of images.
///   - seed: fixes the classes and the images; sets with the same seed that do not overlap (see "synthetic_first_image") are a
///     training and a test set.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (a number out of range, NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_generate")
public func mrp_dataset_generate(
    _ options: UnsafePointer<mrp_config>?, _ count: Int64, _ seed: UInt64,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    generateDataset(options, count, out) { try Datasets.synthetic(count: $0, seed: seed, $1) }
}

/// Chooses `count` images, each class in proportion to its size; the same ones for the same seed. The images are shared. Every class that has
/// images keeps one at least; where `count` is too small for that, a warning of the log names those that are left out.
///
/// - Parameters:
///   - dataset: where to choose from.
///   - count: how many, at most those in the dataset.
///   - seed: fixes the choice.
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (count out of range, NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_subset")
public func mrp_dataset_subset(
    _ dataset: UnsafePointer<mrp_dataset>?, _ count: Int64, _ seed: UInt64,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let base = try Registry.find(dataset, DatasetHandle.self).dataset
        let subset = try SubsetDataset.stratified(base, count: size(count, "count"), seed: seed)
        let lost = subset.lostClasses
        if !lost.isEmpty {
            Log.warning("a subset of \(subset.count) images has none of \(lost.count) classes: \(ClassMatch.list(lost))")
        }
        try publish(subset, out)
    }
}

/// Chooses so many images of each class, the same ones for the same seed: a long tail from a balanced dataset, for example. With smaller counts
/// it chooses some of the images that it chooses with larger ones. The images are shared.
///
/// - Parameters:
///   - dataset: labelled images.
///   - counts: how many images of each class, 0 ... those that it has.
///   - classes: elements in `counts`: the classes of the dataset.
///   - seed: fixes the choice.
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (no labels, another number of classes, more images than a class has, none at all, NULL), MRP_ERR_MEMORY,
///   MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_select")
public func mrp_dataset_select(
    _ dataset: UnsafePointer<mrp_dataset>?, _ counts: UnsafePointer<Int64>?, _ classes: Int64, _ seed: UInt64,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        guard let counts else { throw MRPError(.argument, "counts is NULL") }
        let base = try Registry.find(dataset, DatasetHandle.self).dataset
        let classes = try size(classes, "classes")
        // Before it is read: the caller's array has as many elements as it says, a wrong number is not followed.
        guard classes == base.classCount else {
            throw MRPError(.argument, "counts of \(classes) classes were given, the dataset has \(base.classCount)")
        }
        let wanted = UnsafeBufferPointer(start: counts, count: classes).map { Int($0) }
        try publish(SubsetDataset.selected(base, counts: wanted, seed: seed), out)
    }
}

/// Tells the sizes of a dataset; each pointer may be NULL.
///
/// - Parameters:
///   - count: receives the number of images.
///   - channels: receives the channels of each image.
///   - height: receives the height; 0 when images differ in size.
///   - width: receives the width; 0 when images differ in size.
///   - classes: receives the number of classes, of the images or of the pixels of their masks; 0 without.
/// - Errors: MRP_ERR_ARGUMENT (dataset is NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_shape")
public func mrp_dataset_shape(
    _ dataset: UnsafePointer<mrp_dataset>?, _ count: UnsafeMutablePointer<Int64>?, _ channels: UnsafeMutablePointer<Int64>?,
    _ height: UnsafeMutablePointer<Int64>?, _ width: UnsafeMutablePointer<Int64>?, _ classes: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        count?.pointee = Int64(dataset.count)
        channels?.pointee = Int64(dataset.channels)
        height?.pointee = Int64(dataset.imageSize?.height ?? 0)
        width?.pointee = Int64(dataset.imageSize?.width ?? 0)
        classes?.pointee = Int64(dataset.classCount)
    }
}

/// The name of a class: its folder's, or its number.
///
/// - Parameters:
///   - index: the class, from 0.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such class, buffer too small, NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_class_name")
public func mrp_dataset_class_name(
    _ dataset: UnsafePointer<mrp_dataset>?, _ index: Int64, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let names = try Registry.find(dataset, DatasetHandle.self).dataset.classNames
        try write(names[MRP.index(index, below: names.count, "class")], buffer, capacity, needed)
    }
}

/// Makes a dataset with the same images and labels, or masks, whose classes have names, as those of a folder have: a
/// classifier keeps them in its file.
///
/// - Parameters:
///   - dataset: images with labels or masks.
///   - names: one name per line, in the order of the classes; there may be more names than classes.
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (too few names, an empty one, one that is there twice, NULL), MRP_ERR_STATE (the dataset has neither labels nor masks),
///   MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_name_classes")
public func mrp_dataset_name_classes(
    _ dataset: UnsafePointer<mrp_dataset>?, _ names: UnsafePointer<CChar>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    boundary { try nameClasses(dataset, names, type: "str", required(out, "out")) }
}

private func nameClasses(
    _ dataset: UnsafePointer<mrp_dataset>?, _ names: UnsafePointer<CChar>?, type: String,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>
) throws {
    let base = try Registry.find(dataset, DatasetHandle.self).dataset
    var lines = try string(names, "names").utf8.split(separator: 10, omittingEmptySubsequences: false).map { String($0) ?? "" }
    if lines.last?.isEmpty == true { lines.removeLast() }
    try publish(NamedClassesDataset(base, names: lines, labelType: type), out)
}

/// Like mrp_dataset_name_classes, for names that stand for labels of another type, such as numbers, flags or dates. A classifier keeps the type
/// in its file, where mrp_model_describe shows it as "label_type" under "libmrp": a binding can so give the labels back as they were. Here it
/// has no meaning: classes are the same when their names are.
///
/// - Parameters:
///   - dataset: labelled images.
///   - names: one name per line, in the order of the classes; there may be more names than classes.
///   - type: a word of 1 ... 64 ASCII characters, such as numpy's name of a type: "int64", "float32", "bool", "datetime64[D]".
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (too few names, an empty one, one that is there twice, another type, NULL), MRP_ERR_STATE (the dataset has no
///   labels), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_name_typed_classes")
public func mrp_dataset_name_typed_classes(
    _ dataset: UnsafePointer<mrp_dataset>?, _ names: UnsafePointer<CChar>?, _ type: UnsafePointer<CChar>?,
    _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    boundary { try nameClasses(dataset, names, type: string(type, "type"), required(out, "out")) }
}

/// What an image is called: the path of its file, in the bytes of the system, or "image 7" for one that has none.
///
/// - Parameters:
///   - index: the image, from 0.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such image, buffer too small, NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_image_name")
public func mrp_dataset_image_name(
    _ dataset: UnsafePointer<mrp_dataset>?, _ index: Int64, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        let index = try MRP.index(index, below: dataset.count, "image")
        if let path = dataset.path(of: index) {
            try path.withCString { try write(UnsafeBufferPointer(start: $0, count: strlen($0)), buffer, capacity, needed) }
        } else {
            try write(dataset.name(of: index), buffer, capacity, needed)
        }
    }
}

/// Copies the labels.
///
/// - Parameters:
///   - labels: receives one class per image.
///   - capacity: elements in `labels`.
/// - Errors: MRP_ERR_ARGUMENT (NULL, too small), MRP_ERR_STATE (the dataset has no labels), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_labels")
public func mrp_dataset_labels(_ dataset: UnsafePointer<mrp_dataset>?, _ labels: UnsafeMutablePointer<Int32>?, _ capacity: Int64)
    -> mrp_status
{
    boundary {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        guard let source = dataset.labels else { throw MRPError(.state, "the dataset has no labels") }
        _ = try output(labels, capacity: capacity, needed: dataset.count, "labels").update(fromContentsOf: source)
    }
}

/// Copies images as floats, count x channels x height x width, integers as fractions of their range (uint8: x / 255). Where not all images have
/// the wanted size, all are resized (bicubic) until they cover it divided by 0.875, and cropped at the centre, as a network sees them by
/// default; mrp_dataset_image copies one as it is.
///
/// - Parameters:
///   - first: the first image.
///   - count: how many images.
///   - height: wanted height; 0 for the dataset's own.
///   - width: wanted width; 0 for the dataset's own.
///   - images: receives the pixels.
///   - capacity: elements in `images`.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (range, capacity, NULL, height 0 for images that differ in size), MRP_ERR_IO and MRP_ERR_FORMAT (an image
///   cannot be decoded), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_images")
public func mrp_dataset_images(
    _ dataset: UnsafePointer<mrp_dataset>?, _ first: Int64, _ count: Int64, _ height: Int64, _ width: Int64,
    _ images: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    interruptible {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        let (first, count) = (try size(first, "first"), try size(count, "count"))
        guard first <= dataset.count, count <= dataset.count - first else {
            throw MRPError(.argument, "images \(first) ..< \(first) + \(count) are outside 0 ..< \(dataset.count)")
        }
        let own = dataset.imageSize
        guard let height = height == 0 ? own?.height : try size(height, "height"),
            let width = width == 0 ? own?.width : try size(width, "width")
        else { throw MRPError(.argument, "the images differ in size: height and width must be given") }
        let target = ImageSize(height: height, width: width)
        let needed = try checkedProduct([count, dataset.channels, height, width], bytesEach: 4)
        try Datasets.copy(
            dataset, first: first, count: count, size: target, into: output(images, capacity: capacity, needed: needed, "images"))
    }
}

/// Copies one image as floats, channels x height x width, at its own size, integers as fractions of their range (uint8: x / 255).
///
/// - Parameters:
///   - index: the image, from 0.
///   - image: receives the pixels; mrp_dataset_image_size tells how many rows and columns.
///   - capacity: elements in `image`.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (no such image, capacity, NULL), MRP_ERR_IO and MRP_ERR_FORMAT (the image cannot be decoded), MRP_ERR_MEMORY,
///   MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_dataset_image")
public func mrp_dataset_image(
    _ dataset: UnsafePointer<mrp_dataset>?, _ index: Int64, _ image: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    interruptible {
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        let index = try MRP.index(index, below: dataset.count, "image")
        try Datasets.copyImage(dataset, index) { try output(image, capacity: capacity, needed: $0, "image") }
    }
}

/// Destroys a dataset. NULL is allowed; runs that still use it keep what they need.
///
/// Since 0.1.
@_cdecl("mrp_dataset_destroy")
public func mrp_dataset_destroy(_ dataset: UnsafeMutablePointer<mrp_dataset>?) {
    Registry.remove(dataset)
}
