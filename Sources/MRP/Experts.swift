// # 9. Experts
//
// A mixture of experts in the MLP place of a vision transformer's blocks (docs/experts.md). One with routing by token or by expert choice is made
// by mrp_model_create and the options "moe_..."; any kind is made of a pretrained model by mrp_model_upcycle. It is trained, used and saved as
// other models are; mrp_model_extract makes an ordinary model of one expert.

import CMRPKernels
import CMRPTypes
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining

/// Makes a mixture of experts of a model: every expert begins as a copy of its block's MLP, so the mixture computes what the model computes until it
/// is trained (but with "moe_routing" = "expert_choice", whose experts leave patches out). With "moe_routing" = "cluster", the usual one, the images are
/// clustered by the model's features (balanced k-means), and each image goes to the expert that a router chooses for its cluster; the mixture keeps
/// a frozen copy of the encoder, by which later images are assigned (Liu et al. 2023, MoCE). The decoder of a masked autoencoder goes along.
///
/// - Parameters:
///   - dataset: images to cluster, those of the training; NULL where "moe_routing" is not "cluster".
///   - options: "moe_experts" (unset: 4), "moe_blocks", "moe_spacing", "moe_routing", "moe_capacity", "moe_gate", "moe_clusters", "seed", and the sections "data" and
///     "run".
///   - callback: called several times per second; NULL for none.
///   - user: passed to the callback.
///   - out: receives the mixture; the model stays as it is.
/// - Returns: MRP_CANCELLED when the callback or mrp_cancel stopped it.
/// - Errors: MRP_ERR_ARGUMENT (options that describe no mixture for this model, more clusters than images, images that do not fit the model, all
///   of the same features, NULL), MRP_ERR_UNSUPPORTED (a convolutional network), MRP_ERR_STATE (the model has experts already),
///   MRP_ERR_IO and MRP_ERR_FORMAT (an image cannot be read or decoded), MRP_ERR_NUMERIC (features that are not finite), MRP_ERR_MEMORY,
///   MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_upcycle")
public func mrp_model_upcycle(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ callback: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let options = try MRP.options(options)
        let images = try dataset.map { try Registry.find($0, DatasetHandle.self).dataset }
        let made = try Registry.exclusively(model, ModelHandle.self) { handle in
            let relay = try CallbackRelay(callback, user, phase: "upcycle", handle.cancelFlag)
            return try Interruption.allowed(handle.cancelFlag) {
                try Upcycling.mixture(of: handle.model, images, options, cancel: handle.cancelFlag, poll: relay.call)
            }
        }
        out.pointee = try Registry.add(ModelHandle(made), as: mrp_model.self)
    }
}

/// Measures the experts of a mixture on the images of a task, without labels: how many images go to each, and how well each reconstructs hidden
/// patches of all of them. The loss is the better guide: the expert that most images go to need not be the best for all.
///
/// - Parameters:
///   - dataset: the images.
///   - options: "mask_ratio" and "seed" choose the hidden patches; the sections "data" and "run"; NULL for the defaults.
///   - counts: receives the images of each expert; needs "moe_routing" = "cluster"; may be NULL.
///   - losses: receives the mean loss of each expert over hidden patches; needs the decoder of a masked autoencoder; may be NULL.
///   - capacity: elements in each of these; "moe_experts" are needed. Not read when both are NULL.
///   - experts: receives the expert of each image; needs "moe_routing" = "cluster"; may be NULL.
///   - experts_capacity: elements in `experts`; as many as images are needed. Not read when that is NULL.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no experts; counts without routing by cluster; losses without a decoder), MRP_ERR_ARGUMENT (NULL, capacity,
///   images that do not fit the model), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_experts")
public func mrp_model_experts(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ counts: UnsafeMutablePointer<Int64>?, _ losses: UnsafeMutablePointer<Double>?, _ capacity: Int64,
    _ experts: UnsafeMutablePointer<Int32>?, _ experts_capacity: Int64
) -> mrp_status {
    boundary {
        let options = try MRP.options(options)
        let images = try Registry.find(dataset, DatasetHandle.self).dataset
        try Registry.exclusively(model, ModelHandle.self) { handle in
            let number = try Upcycling.experts(handle.model).experts
            if let counts { _ = try output(counts, capacity: capacity, needed: number, "counts") }
            if let losses { _ = try output(losses, capacity: capacity, needed: number, "losses") }
            let numbers = try experts.map { try output($0, capacity: experts_capacity, needed: images.count, "experts") }
            let found = try handle.suitability(
                images, options, counts: counts != nil || experts != nil, losses: losses != nil, numbers: numbers)
            for (expert, count) in found.counts.enumerated() { counts?[expert] = Int64(count) }
            for (expert, loss) in found.losses.enumerated() { losses?[expert] = loss }
        }
    }
}

/// Makes an ordinary model of one expert of a mixture: the same outputs as the mixture's with all images sent to that expert, and a file that timm
/// and transformers load.
///
/// - Parameters:
///   - expert: its number, from 0; -1: the one with the smallest loss over hidden patches of the images (mrp_model_experts).
///   - dataset: the images of the task, with -1; may be NULL otherwise.
///   - options: as for mrp_model_experts.
///   - out: receives the model; the mixture stays as it is.
/// - Returns: MRP_CANCELLED when mrp_cancel stopped it.
/// - Errors: MRP_ERR_STATE (the model has no experts; -1 without a decoder), MRP_ERR_ARGUMENT (no such expert, -1 without images, images that do not fit
///   the model, NULL), MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_extract")
public func mrp_model_extract(
    _ model: UnsafeMutablePointer<mrp_model>?, _ expert: Int64, _ dataset: UnsafePointer<mrp_dataset>?,
    _ options: UnsafePointer<mrp_config>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let options = try MRP.options(options)
        let images = try dataset.map { try Registry.find($0, DatasetHandle.self).dataset }
        let made = try Registry.exclusively(model, ModelHandle.self) { handle in
            let experts = try Upcycling.experts(handle.model).experts
            var chosen = expert
            if expert == -1 {
                guard let images else { throw MRPError(.argument, "expert -1 is the best for images: dataset is NULL") }
                let losses = try handle.suitability(images, options, counts: false, losses: true).losses
                chosen = Int64(losses.indices.min { losses[$0] < losses[$1] } ?? 0)
                Log.info(
                    "expert \(chosen) of \(experts) suits the images best: its losses are \(losses.map { "\(Float($0))" }.joined(separator: ", "))"
                )
            }
            let number = try index(chosen, below: experts, "expert")
            return try Interruption.allowed(handle.cancelFlag) { try Upcycling.extracted(handle.model, expert: number) }
        }
        out.pointee = try Registry.add(ModelHandle(made), as: mrp_model.self)
    }
}

extension ModelHandle {
    /// Suitability of the experts for images; throws `Cancelled` when it was stopped.
    fileprivate func suitability(
        _ images: any ImageDataset, _ options: Options, counts: Bool, losses: Bool, numbers: UnsafeMutableBufferPointer<Int32>? = nil
    ) throws -> Upcycling.Suitability {
        try Interruption.allowed(cancelFlag) {
            let flag = cancelFlag
            let inference = Inference(model, options, cancel: flag) { if Interruption.isWanted { mk_flag_store(flag, 1) } }
            let found = try Upcycling.suitability(inference, images, counts: counts, losses: losses, numbers: numbers)
            guard let found else { throw Cancelled() }
            return found
        }
    }
}
