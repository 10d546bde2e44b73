// # 6. Using a model
//
// Features, class probabilities, reconstructions and accuracy, over whole datasets (mrp_dataset_wrap_array makes one of an array without
// copying it). Images of another size are resized and cropped at the centre, of which "evaluation_crop" is the part that is seen. Images whose
// values cannot be in the units of the training's are refused ("pixel_check"). With "unreadable_images" = "skip" the row of an image that cannot
// be read is NaN, measures leave it out, and a warning of the log has its number. These calls have no callback: to stop one, call mrp_cancel from
// another thread; to show progress, call them on parts of the images.

import CMRPKernels
import CMRPTypes
import MRPEngine
import MRPModels
import MRPTraining

func infer(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ body: (Inference, DatasetHandle) throws -> Bool
) -> mrp_status {
    boundary {
        let options = try MRP.options(options)
        let dataset = try Registry.find(dataset, DatasetHandle.self)
        try Registry.exclusively(model, ModelHandle.self) { handle in
            let flag = handle.cancelFlag
            try Interruption.allowed(flag) {
                let inference = Inference(handle.model, options, cancel: flag) {
                    if Interruption.isWanted { mk_flag_store(flag, 1) }
                }
                guard try body(inference, dataset) else { throw Cancelled() }
            }
        }
    }
}

/// Computes features: per image the mean over patches, the class token, or all tokens.
///
/// - Parameters:
///   - dataset: the images.
///   - options: "features" ("mean" or "cls": count x width numbers; "tokens": count x (1 + patches) x width, class token first) and "layer"
///     (0: the last block after the final norm; 1, 2, ...: the output of that block); NULL for the defaults.
///   - features: receives the numbers.
///   - capacity: elements in `features`.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL, capacity, images that do not fit the model, no such layer), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY,
///   MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_encode")
public func mrp_encode(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ features: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let needed = try checkedProduct([handle.dataset.count, inference.featureCount()], bytesEach: 4)
        return try inference.encode(handle.dataset, into: output(features, capacity: capacity, needed: needed, "features"))
    }
}

/// Computes attention maps: softmax(q k^T / sqrt(d)) of a block of a vision transformer (Vaswani et al. 2017), for each image and head how
/// much each token (row) looks at each token (column).
///
/// - Parameters:
///   - dataset: the images.
///   - options: "layer" (0: the last block; 1, 2, ...: that one); NULL for the defaults.
///   - attention: receives count x heads x tokens x tokens numbers, the class token first; each row adds up to 1. mrp_model_describe lists
///     heads and tokens of each layer under "attention".
///   - capacity: elements in `attention`.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL, capacity, images that do not fit the model, no such layer, an encoder without attention), MRP_ERR_IO,
///   MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_attention")
public func mrp_attention(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ attention: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let (heads, tokens) = try inference.attentionShape()
        let needed = try checkedProduct([handle.dataset.count, heads, tokens, tokens], bytesEach: 4)
        return try inference.attention(handle.dataset, into: output(attention, capacity: capacity, needed: needed, "attention"))
    }
}

/// Computes class probabilities of a fine-tuned model. At a "label_level" the classes are those of the level, in the order in which the first
/// finer class of each comes in the model's list.
///
/// - Parameters:
///   - dataset: the images.
///   - options: the sections "data" and "run" are read, such as "label_level" and "level_readout", and "prior" (with "class_counts"): "uniform"
///     takes all classes for equally likely beforehand; NULL for the defaults.
///   - probabilities: receives count x classes numbers; each row adds up to 1.
///   - capacity: elements in `probabilities`.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no classifier head; "prior" needs counts of training images that its file does not have),
///   MRP_ERR_ARGUMENT (NULL, capacity, a label_level that the model's classes do not have, images that do not fit the model), MRP_ERR_IO,
///   MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_predict")
public func mrp_predict(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ probabilities: UnsafeMutablePointer<Float>?, _ capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let needed = try checkedProduct([handle.dataset.count, inference.classCount()], bytesEach: 4)
        return try inference.predict(handle.dataset, into: output(probabilities, capacity: capacity, needed: needed, "probabilities"))
    }
}

/// Refuses arrays that are too small for what is read or written.
private func require(_ capacity: Int64, _ needed: Int, _ name: String) throws {
    guard capacity >= Int64(needed) else {
        throw MRPError(.argument, "\(name) \(capacity) is too small: \(needed) elements are needed")
    }
}

/// Hides patches of each image and reconstructs them.
///
/// - Parameters:
///   - dataset: the images.
///   - options: "mask_ratio" and "seed" choose the hidden patches when `mask` is NULL; "patch_statistics"; NULL for the defaults.
///   - mask: count x patches, 1 = hidden, 0 = visible, the same number hidden in every image; or NULL.
///   - mask_capacity: elements in `mask` and in `masks`; not read when both are NULL.
///   - images: receives the images as the network sees them, count x channels x height x width in 0 ... 1 (floats in their own units); may be
///     NULL.
///   - reconstructions: receives the visible patches as they are and the hidden ones as predicted, like `images`; may be NULL. A model of
///     "norm_pix_loss" predicts standardised patches, which are shown with mean and deviation of the hidden pixels themselves: option
///     "patch_statistics" = "visible" shows them without.
///   - capacity: elements in `images` and in `reconstructions`; not read when both are NULL.
///   - masks: receives count x patches, 1 = hidden; may be NULL.
///   - loss: receives the mean loss over hidden patches; may be NULL.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no decoder), MRP_ERR_ARGUMENT (a mask that hides all or nothing, or not the same number everywhere;
///   a capacity that is too small; NULL; images that do not fit the model), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_reconstruct")
public func mrp_reconstruct(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ mask: UnsafePointer<UInt8>?, _ mask_capacity: Int64, _ images: UnsafeMutablePointer<Float>?,
    _ reconstructions: UnsafeMutablePointer<Float>?, _ capacity: Int64, _ masks: UnsafeMutablePointer<UInt8>?,
    _ loss: UnsafeMutablePointer<Double>?
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let geometry = inference.model.encoder.geometry
        let count = try checkedProduct([handle.dataset.count, geometry.count], bytesEach: 1)
        let pixels = try checkedProduct([handle.dataset.count, geometry.channels, geometry.height, geometry.width], bytesEach: 4)
        if mask != nil || masks != nil { try require(mask_capacity, count, "mask_capacity") }
        if images != nil || reconstructions != nil { try require(capacity, pixels, "capacity") }
        let result = try inference.reconstruct(
            handle.dataset, mask: mask.map { UnsafeBufferPointer(start: $0, count: count) },
            into: .init(images: images, reconstructions: reconstructions, masks: masks))
        guard let result else { return false }
        loss?.pointee = result
        return true
    }
}

/// Measures a model on a dataset. Classes are matched by their names: images of a class that the model does not know count as wrong (the loss is
/// that of the others), and a warning of the log names it. Classes of arrays without names are numbers: places in the model's list where that
/// has names. A class below a known one counts as that: "cat/persian" as "cat". At a "label_level" the classes of the images and of the model are
/// those of the level.
///
/// - Parameters:
///   - dataset: the images; labelled, but for "reconstruction_loss".
///   - options: the sections "data" and "run" are read, "prior", "class_counts", "many_above" and "few_below", "mask_ratio" for the
///     reconstruction; NULL for the defaults.
///   - metric: "top1" (share of images whose class has the largest score), "top5" (whose class is among the five largest), "balanced_top1"
///     (the mean over classes of each one's share), "many_top1", "medium_top1" and "few_top1" (the same over the classes with more training
///     images than "many_above", with fewer than "few_below", and those between; NaN where there are none), "loss" (mean cross entropy), or
///     "reconstruction_loss" (mean over hidden patches). Of a model of "task" = "segment", with the masks of the dataset: "miou" (the mean over
///     classes of intersection over union, over all images together), "pixel_accuracy", or "loss" (mean cross entropy of the pixels).
///     Of a model of "task" = "instances", with masks of objects: "ap50" (average precision at an intersection over union of a half), "ar_10" and
///     "ar_100" (the mean over intersections over union 0.5, 0.55 ... 0.95 of the share of objects among the 10 or 100 best instances of each
///     image), all as COCO has them and whatever the class; "recall" (the share of objects found with at least "score_threshold" and a half)
///     and "false_positives" (instances with such a score that are no object, per image).
///   - value: receives the result.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no head, or no decoder; its file has no counts of training images, and "class_counts" is not set),
///   MRP_ERR_ARGUMENT (unknown metric, no labels, no image of a class that the model knows, a label_level that the classes do not have, images
///   that do not fit the model, NULL), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_evaluate")
public func mrp_evaluate(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ metric: UnsafePointer<CChar>?, _ value: UnsafeMutablePointer<Double>?
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let value = try required(value, "value")
        let name = try string(metric, "metric")
        let group = Inference.Group(rawValue: name)
        if inference.model.head?.isDense == true, name != "reconstruction_loss" {
            guard let result = try inference.evaluateDense(handle.dataset) else { return false }
            value.pointee = try result.value(name)
            return true
        }
        switch name {
        case _ where group != nil, "top1", "top5", "balanced_top1", "loss":
            let confuses = group != nil || name == "balanced_top1"
            if let group { _ = try inference.classPrior(for: group.rawValue) }
            guard let result = try inference.evaluate(handle.dataset, confuses: confuses) else { return false }
            if confuses { try requireCounts(result.classes, inference) }
            switch name {
            case "top1": value.pointee = result.top1
            case "top5": value.pointee = result.top5
            case "balanced_top1": value.pointee = result.balancedTop1
            case "loss": value.pointee = result.loss
            default: value.pointee = try group.map { try inference.accuracy(of: $0, in: result) } ?? .nan
            }
        case "reconstruction_loss":
            guard let result = try inference.reconstruct(handle.dataset, into: .init()) else { return false }
            value.pointee = result
        default:
            throw MRPError(
                .argument,
                "unknown metric '\(name)': there are top1, top5, balanced_top1, many_top1, medium_top1, few_top1, loss and reconstruction_loss"
            )
        }
        return true
    }
}

private func requireCounts(_ classes: Int, _ inference: Inference) throws {
    guard classes > 0 else {
        throw MRPError(
            .argument,
            "classes \(try inference.classCount()) is above \(Inference.mostConfusedClasses), up to which they are counted")
    }
}

/// Counts which classes a classifier takes for which; classes are matched as by mrp_evaluate, images of unknown ones are not counted.
///
/// - Parameters:
///   - dataset: labelled images.
///   - options: the sections "data" and "run" are read, and "prior" (with "class_counts"); NULL for the defaults.
///   - counts: receives classes x classes numbers, at a "label_level" those of the level: in row t, column p how many images of class t were
///     taken for class p; of a model of "task" = "segment" how many pixels. The share of a class that was recognised is its diagonal element over
///     the sum of its row.
///   - capacity: elements in `counts`.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no classifier head), MRP_ERR_ARGUMENT (NULL, capacity, no labels, more than 4096 classes, images that
///   do not fit the model), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_confusion")
public func mrp_confusion(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ counts: UnsafeMutablePointer<Int64>?, _ capacity: Int64
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        if inference.model.head is SegmentationHead {
            let classes = try inference.namedClasses()
            let counts = try output(counts, capacity: capacity, needed: checkedProduct([classes, classes]), "counts")
            guard let result = try inference.evaluateMaps(handle.dataset) else { return false }
            _ = counts.update(fromContentsOf: result.confusion)
            return true
        }
        let classes = try inference.classCount()
        try requireCounts(classes <= Inference.mostConfusedClasses ? classes : 0, inference)
        let counts = try output(counts, capacity: capacity, needed: classes * classes, "counts")
        guard let result = try inference.evaluate(handle.dataset, confuses: true) else { return false }
        _ = counts.update(fromContentsOf: result.confusion)
        return true
    }
}

/// Measures an encoder by a classifier on its frozen features, which learns from labelled images and is tried on held-out ones.
///
/// - Parameters:
///   - dataset: the labelled images.
///   - held_out: labelled images that are classified; their classes are matched by name, as by mrp_evaluate.
///   - options: "features" and "layer" as for mrp_encode; the section "measurement" ("knn_k", "knn_temperature", "probe_epochs",
///     "probe_learning_rate", "probe_batch_size", "probe_views" and fine-tuning's augmentation) and "seed"; NULL for the defaults.
///   - method: "knn", weighted nearest neighbours (Wu et al. 2018), or "linear", a linear classifier trained with LARS on normed features (He
///     et al. 2021).
///   - value: receives the share of held-out images that are classified correctly.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_ARGUMENT (unknown method, no labels, knn_k above the number of images, images that do not fit the model, NULL), MRP_ERR_IO,
///   MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_probe")
public func mrp_probe(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ held_out: UnsafePointer<mrp_dataset>?,
    _ options: UnsafePointer<mrp_config>?, _ method: UnsafePointer<CChar>?, _ value: UnsafeMutablePointer<Double>?
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let value = try required(value, "value")
        let name = try string(method, "method")
        guard let method = Probe.Method(rawValue: name) else {
            throw MRPError(.argument, "unknown method '\(name)': there are knn and linear")
        }
        let heldOut = try Registry.find(held_out, DatasetHandle.self).dataset
        guard let found = try Probe(inference).accuracy(method, known: handle.dataset, heldOut: heldOut) else { return false }
        value.pointee = found
        return true
    }
}

/// Makes finer classes: cuts each class into clusters of about the same size, by balanced k-means on the features of its images. Those of class
/// "cat" are called "cat/0", "cat/1" and so on: a label tree, of which "label_level" 1 is the classes as they were. Without labels all images are
/// one class, and the clusters are called "0", "1" and so on. Classes without images are left out.
///
/// Features lose their mean, are whitened (the first min(32, width / 2) principal components) and get the length 1; assignments are balanced by
/// Sinkhorn's rounds (Caron et al. 2020).
///
/// - Parameters:
///   - dataset: the images, which are shared.
///   - model: makes the features: a pretrained encoder, or a classifier of the coarse classes.
///   - per_class: clusters of each class, at least 2.
///   - options: "features" and "layer" as for mrp_encode, and "seed"; NULL for the defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL, per_class out of range, a class with fewer images or with equal features, images that do not fit the model,
///   no such layer), MRP_ERR_NUMERIC (features that are not finite), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED (also more
///   than 1048576 classes), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_dataset_cluster")
public func mrp_dataset_cluster(
    _ dataset: UnsafePointer<mrp_dataset>?, _ model: UnsafeMutablePointer<mrp_model>?, _ per_class: Int64,
    _ options: UnsafePointer<mrp_config>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_dataset>?>?
) -> mrp_status {
    infer(model, dataset, options) { inference, handle in
        let out = try required(out, "out")
        guard let found = try inference.fineLabels(handle.dataset, perClass: size(per_class, "per_class")) else { return false }
        try publish(found, out)
        return true
    }
}
