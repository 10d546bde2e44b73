// # 5. Training
//
// Pretraining hides patches and learns to reconstruct them, without labels; fine-tuning learns classes with labels. A model that was
// never pretrained is fine-tuned from scratch: that is supervised learning. Either one call with a callback, or a trainer that the
// caller steps through. The same seed gives the same bits, whatever the number of threads.

import CMRPKernels
import CMRPTypes
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining

/// Progress of a run, of training or of the laboratory.
protocol ReadableProgress {
    var phase: String { get }
    var fraction: Double { get }
    func value(_ name: String) -> Double?
}

extension TrainingProgress: ReadableProgress {}

/// Handle by which a callback or a caller reads the progress: a snapshot, which any thread may read while the run goes on.
final class ProgressHandle: Handle {
    override class var kind: String { "progress" }
    /// Guarded by the registry's lock.
    private var snapshot: any ReadableProgress

    init(_ progress: any ReadableProgress) { snapshot = progress }

    var progress: any ReadableProgress {
        get { Registry.locked { snapshot } }
        set {
            // The former value ends after the lock is free.
            let former = Registry.locked { () -> any ReadableProgress in
                defer { snapshot = newValue }
                return snapshot
            }
            withExtendedLifetime(former) {}
        }
    }
}

/// A progress under a name that is good as long as this object.
final class PublishedProgress {
    private let handle: ProgressHandle
    let pointer: UnsafePointer<mrp_progress>

    init(_ progress: any ReadableProgress) throws {
        handle = ProgressHandle(progress)
        pointer = UnsafePointer(try Registry.add(handle, as: mrp_progress.self))
    }

    deinit { Registry.remove(pointer) }

    func show(_ progress: any ReadableProgress) { handle.progress = progress }
    func value(_ name: String) -> Double? { handle.progress.value(name) }
}

/// Calls the caller's function and remembers that it wants to stop.
final class CallbackRelay {
    let function: mrp_progress_fn?
    let user: UnsafeMutableRawPointer?
    let progress: PublishedProgress
    let flag: UnsafeMutablePointer<Int32>

    init(_ function: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?, phase: String, _ flag: UnsafeMutablePointer<Int32>) throws {
        self.function = function
        self.user = user
        self.flag = flag
        progress = try PublishedProgress(TrainingProgress(phase: phase, steps: 0))
    }

    func call() {
        if let function, function(progress.pointer, user) != 0 { mk_flag_store(flag, 1) }
        obeyInterrupt(flag)
    }
}

/// Sets the flag when the function of mrp_set_interrupt wants this thread's call to stop.
func obeyInterrupt(_ flag: UnsafeMutablePointer<Int32>) {
    if mk_interrupt_ask() != 0 { mk_flag_store(flag, 1) }
}

private func announce(_ run: TrainingRun) {
    Log.info(run.trainer.summary)
    tell(run)
}

private func tell(_ run: TrainingRun) {
    for note in run.takeNotes() { Log.write(note) }
}

extension ModelHandle {
    /// Makes a run of the model, which nobody else uses at the moment. After an error the model is as it was.
    func beginRun(
        _ dataset: any ImageDataset, _ options: Options, _ phase: Phase, poll: (() -> Void)? = nil
    ) throws -> TrainingRun {
        if let trainer, trainer.isGoingOn {
            throw MRPError(.busy, "the model has a trainer, which is at \(trainer.place): let it finish, or destroy it first")
        }
        // A run folder may hold other numbers for weights that the model has already.
        let run = try model.restoringAfterErrors(contents: options.hasRunFolder) {
            try Interruption.allowed(cancelFlag) {
                try TrainingRun(model, dataset, options, phase, validation: validation, cancel: cancelFlag, poll: poll)
            }
        }
        runs += 1
        return run
    }
}

private func train(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ phase: Phase, _ function: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?
) -> mrp_status {
    boundary {
        let options = try MRP.options(options)
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        try Registry.exclusively(model, ModelHandle.self) { handle in
            let relay = try CallbackRelay(function, user, phase: phase.rawValue, handle.cancelFlag)
            // Until a step is done nothing was learned: an error leaves the model as it was.
            var before: Model.Contents? = handle.model.contents
            let run = try handle.beginRun(dataset, options, phase, poll: relay.call)
            do {
                try finish(run, relay, cancel: handle.cancelFlag) { before = nil }
            } catch {
                if let before, run.progress.step == 0 { handle.model.contents = before }
                throw error
            }
        }
    }
}

/// Steps until the end of the run.
private func finish(
    _ run: TrainingRun, _ relay: CallbackRelay, cancel: UnsafePointer<Int32>, stepped: () -> Void
) throws {
    relay.progress.show(run.progress)
    announce(run)
    relay.call()
    while true {
        defer { tell(run) }
        do {
            switch try run.step(cancel: cancel, poll: relay.call) {
            case .stepped:
                stepped()
                relay.progress.show(run.progress)
                relay.call()
            case .finished: return
            case .cancelled:
                if run.hasFolder { try run.suspend() }
                throw Cancelled()
            }
        } catch let error as MRPError {
            // Weights are not lost; the error to tell is the one that ended the run.
            if run.progress.step > 0 { try? run.suspend() }
            throw error
        }
    }
}

/// Gives a model images on which its training is measured, from the next run on: a classifier by its accuracy, an encoder that is pretrained
/// by probes on its frozen features. The section "measurement" of the options says how often and how; progress, logs and the best checkpoint
/// follow. The model keeps the datasets alive; a copy of the model does not have them.
///
/// - Parameters:
///   - held_out: labelled images that training does not see; NULL: no measurements.
///   - reference: labelled images from which the probes of pretraining learn; NULL where the model is only fine-tuned.
/// - Errors: MRP_ERR_ARGUMENT (`model` is NULL), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_set_validation")
public func mrp_model_set_validation(
    _ model: UnsafeMutablePointer<mrp_model>?, _ held_out: UnsafePointer<mrp_dataset>?, _ reference: UnsafePointer<mrp_dataset>?
) -> mrp_status {
    boundary {
        let known = try reference.map { try Registry.find($0, DatasetHandle.self).dataset }
        let validation = try held_out.map { Validation(heldOut: try Registry.find($0, DatasetHandle.self).dataset, reference: known) }
        try Registry.exclusively(model, ModelHandle.self) { $0.validation = validation }
    }
}

/// Pretrains the model's encoder as a masked autoencoder (He et al. 2021). Labels are not read.
///
/// - Parameters:
///   - dataset: images with the model's number of channels.
///   - options: the sections "objective", "training", "data" and "run" are read, and the decoder's sizes; NULL for the defaults.
///   - callback: called after each step and several times per second in between; NULL for none.
///   - user: passed to the callback.
/// - Returns: MRP_CANCELLED when the callback or mrp_cancel stopped the run; the model then keeps its last finished step.
/// - Errors: MRP_ERR_ARGUMENT (options or images that do not fit the model; NULL), MRP_ERR_NUMERIC (the loss became NaN or infinite; the
///   model keeps the step before), MRP_ERR_IO and MRP_ERR_FORMAT (an image cannot be read or decoded), MRP_ERR_MEMORY,
///   MRP_ERR_UNSUPPORTED (the instruction set asked for), MRP_ERR_STATE (run_folder holds another run, and the text names what
///   differs, or is in use), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_pretrain")
public func mrp_pretrain(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ callback: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?
) -> mrp_status {
    train(model, dataset, options, .pretrain, callback, user)
}

/// Trains the model as a classifier, or as what "task" says, encoder included: fine-tuning after pretraining, supervised learning from scratch
/// otherwise. The head is made from the dataset's classes; the decoder is dropped.
///
/// - Parameters:
///   - dataset: labelled images with the model's number of channels.
///   - options: as for mrp_pretrain, and "pooling", "classes", "label_smoothing", "layer_decay"; NULL for the defaults.
///   - callback: called after each step and several times per second in between; NULL for none.
///   - user: passed to the callback.
/// - Returns: MRP_CANCELLED when the callback or mrp_cancel stopped the run; the model then keeps its last finished step.
/// - Errors: MRP_ERR_ARGUMENT (no labels, or with "task" = "segment" no masks; options or images that do not fit the model; NULL),
///   MRP_ERR_NUMERIC, MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY, MRP_ERR_UNSUPPORTED, MRP_ERR_STATE, MRP_ERR_HANDLE, MRP_ERR_BUSY, all as for mrp_pretrain.
///
/// Since 0.1.
@_cdecl("mrp_finetune")
public func mrp_finetune(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ callback: mrp_progress_fn?, _ user: UnsafeMutableRawPointer?
) -> mrp_status {
    train(model, dataset, options, .finetune, callback, user)
}

final class TrainerHandle: Handle {
    override class var kind: String { "trainer" }
    let run: TrainingRun
    var trainer: Trainer { run.trainer }
    let model: ModelHandle
    let progress: PublishedProgress
    /// Why the run has ended, for any thread; guarded by the registry's lock.
    private var shownEnd = ""
    /// The number of the run among those of the model.
    private let number: Int
    private let process = Registry.process

    init(_ run: TrainingRun, _ model: ModelHandle) throws {
        self.run = run
        self.model = model
        number = model.runs
        progress = try PublishedProgress(run.progress)
        super.init()
        show()
    }

    /// Lets other threads see where the run is.
    func show() {
        progress.show(run.progress)
        let end = run.end?.rawValue ?? ""
        Registry.locked { shownEnd = end }
    }

    var end: String { Registry.locked { shownEnd } }

    /// Whether further steps may change the model. Those of a parent process do not.
    var isGoingOn: Bool { process == Registry.process && number == model.runs && (run.end == nil || run.end == .suspended) }

    var place: String { "step \(run.progress.step) of \(run.progress.steps) (\(trainer.phase.rawValue))" }

    /// Errors: `.state` when another run has changed the model.
    func checkModel() throws {
        guard number == model.runs else {
            throw MRPError(.state, "the model was trained by another run since: this trainer, at \(place), cannot go on")
        }
    }
}

/// Runs the body while nobody else uses the trainer or its model. Errors: `.state` when another run has changed the model.
private func withRun<Result>(_ trainer: UnsafeRawPointer?, _ body: (TrainerHandle) throws -> Result) throws -> Result {
    try Registry.exclusively(trainer, TrainerHandle.self) { handle in
        try Registry.exclusively(handle.model) { _ in
            try handle.checkModel()
            defer { handle.show() }
            return try body(handle)
        }
    }
}

/// Prepares a run that the caller steps through. All memory is planned and taken here, before step 1. The trainer keeps model and dataset
/// alive. Between steps the model may be saved, copied or used, but until the run has ended or the trainer is destroyed, no other run may
/// train it: that is MRP_ERR_BUSY. A trainer whose run has ended, and whose model another run has trained since, gives MRP_ERR_STATE.
///
/// - Parameters:
///   - model: what is trained.
///   - dataset: the images.
///   - options: as for mrp_pretrain or mrp_finetune; NULL for the defaults.
///   - phase: "pretrain" or "finetune".
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when mrp_cancel or the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (unknown phase; options or images that do not fit the model; NULL), MRP_ERR_MEMORY, MRP_ERR_IO, MRP_ERR_FORMAT,
///   MRP_ERR_UNSUPPORTED, MRP_ERR_STATE (run_folder holds another run, and the text names what differs, or is in use),
///   MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_trainer_create")
public func mrp_trainer_create(
    _ model: UnsafeMutablePointer<mrp_model>?, _ dataset: UnsafePointer<mrp_dataset>?, _ options: UnsafePointer<mrp_config>?,
    _ phase: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_trainer>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let name = try string(phase, "phase")
        guard let phase = Phase(rawValue: name) else { throw MRPError(.argument, "phase '\(name)' is not pretrain or finetune") }
        let options = try MRP.options(options)
        let dataset = try Registry.find(dataset, DatasetHandle.self).dataset
        let handle = try Registry.exclusively(model, ModelHandle.self) { model in
            let run = try model.beginRun(dataset, options, phase) { obeyInterrupt(model.cancelFlag) }
            let trainer = try TrainerHandle(run, model)
            model.trainer = trainer
            return trainer
        }
        announce(handle.run)
        out.pointee = try Registry.add(handle, as: mrp_trainer.self)
    }
}

/// Tells what a run takes.
///
/// - Parameters:
///   - bytes: receives the memory of training: weights, moments, values of a step, scratch memory (not the images); may be NULL.
///   - steps: receives the number of steps; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_trainer_plan")
public func mrp_trainer_plan(
    _ trainer: UnsafePointer<mrp_trainer>?, _ bytes: UnsafeMutablePointer<Int64>?, _ steps: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let handle = try Registry.find(trainer, TrainerHandle.self)
        bytes?.pointee = Int64(handle.trainer.plannedBytes)
        steps?.pointee = Int64(handle.progress.value("steps") ?? 0)
    }
}

/// Does one step.
///
/// - Returns: MRP_OK, MRP_DONE when the run had ended before (mrp_trainer_end says why), MRP_CANCELLED when mrp_cancel or a function of the caller's stopped it (nothing
///   changed; the next call tries the same step again).
/// - Errors: MRP_ERR_NUMERIC, MRP_ERR_IO, MRP_ERR_FORMAT, MRP_ERR_MEMORY as for mrp_pretrain; MRP_ERR_ARGUMENT (NULL; noise or
///   targets that are not numbers), MRP_ERR_STATE (objective "given" without targets; another run has trained the model since), MRP_ERR_FORKED (the trainer's loader belongs to the parent
///   process), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_trainer_step")
public func mrp_trainer_step(_ trainer: UnsafeMutablePointer<mrp_trainer>?) -> mrp_status {
    statusBoundary {
        try withRun(trainer) { handle in
            defer { tell(handle.run) }
            let flag = handle.model.cancelFlag
            obeyInterrupt(flag)
            switch try handle.run.step(cancel: flag, poll: { obeyInterrupt(flag) }) {
            case .stepped: return mrp_status(MRP_OK)
            case .finished: return mrp_status(MRP_DONE)
            case .cancelled: return mrp_status(MRP_CANCELLED)
            }
        }
    }
}

/// Lets the caller choose the hidden patches of each step of a pretraining run, image by image. A resumed run needs the same function to
/// end with the same bits.
///
/// - Parameters:
///   - masking: fills the noise of a step's images; NULL for random noise, which is what a new trainer has.
///   - user: passed to it.
/// - Errors: MRP_ERR_STATE (the run does not pretrain), MRP_ERR_HANDLE, MRP_ERR_BUSY, MRP_ERR_ARGUMENT (NULL).
///
/// Since 0.1.
@_cdecl("mrp_trainer_set_masking")
public func mrp_trainer_set_masking(
    _ trainer: UnsafeMutablePointer<mrp_trainer>?, _ masking: mrp_masking_fn?, _ user: UnsafeMutableRawPointer?
) -> mrp_status {
    boundary {
        try Registry.exclusively(trainer, TrainerHandle.self) { handle in
            guard handle.trainer.phase == .pretrain else {
                throw MRPError(.state, "masking belongs to pretraining, this trainer is made for \(handle.trainer.phase.rawValue)")
            }
            handle.trainer.masking = masking.map { function in
                { indices, noise in
                    let patches = indices.isEmpty ? 0 : noise.count / indices.count
                    return function(indices.baseAddress, Int64(indices.count), Int64(patches), noise.baseAddress, user) == 0
                }
            }
        }
    }
}

/// Gives a pretraining run with objective "given" its targets, for example the features that another model has for the images.
///
/// - Parameters:
///   - targets: fills the targets of a step's images; NULL for none, which is what a new trainer has: its steps then fail.
///   - user: passed to it.
/// - Errors: MRP_ERR_STATE (the run does not pretrain with objective "given"), MRP_ERR_HANDLE, MRP_ERR_BUSY, MRP_ERR_ARGUMENT (NULL).
///
/// Since 0.1.
@_cdecl("mrp_trainer_set_targets")
public func mrp_trainer_set_targets(
    _ trainer: UnsafeMutablePointer<mrp_trainer>?, _ targets: mrp_targets_fn?, _ user: UnsafeMutableRawPointer?
) -> mrp_status {
    boundary {
        try Registry.exclusively(trainer, TrainerHandle.self) { handle in
            try handle.trainer.checkTakesTargets()
            handle.trainer.targets = targets.map { function in
                { indices, images, patches, output in
                    let (count, width) = (max(indices.count, 1), output.count / max(indices.count * patches, 1))
                    return function(
                        indices.baseAddress, Int64(indices.count), images.baseAddress, Int64(images.count / count), Int64(patches),
                        Int64(width), output.baseAddress, user) == 0
                }
            }
        }
    }
}

/// Writes the state of a run to a file that mrp_trainer_resume reads: weights, optimiser, position. The file is replaced as a whole.
///
/// - Parameter path: the file, by convention `*.ckpt`.
/// - Returns: MRP_CANCELLED when mrp_cancel or the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (cannot be written), MRP_ERR_STATE (another run has trained the model since), MRP_ERR_MEMORY, MRP_ERR_ARGUMENT (NULL),
///   MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_trainer_save")
public func mrp_trainer_save(_ trainer: UnsafeMutablePointer<mrp_trainer>?, _ path: UnsafePointer<CChar>?) -> mrp_status {
    boundary {
        try withRun(trainer) { handle in
            let path = try string(path, "path")
            try Interruption.allowed(handle.model.cancelFlag) { try handle.run.save(to: path) }
        }
    }
}

/// Continues a saved run: the trainer was made with the same model sizes, dataset and options, with any number of threads. What comes out at
/// the end is the same, bit for bit, as without the stop. The file must not become shorter while it is read.
///
/// - Parameter path: the file that mrp_trainer_save wrote.
/// - Returns: MRP_CANCELLED when mrp_cancel or the function of mrp_set_interrupt stopped it; the trainer is as it was.
/// - Errors: MRP_ERR_IO (cannot be read), MRP_ERR_FORMAT (not a checkpoint, or damaged), MRP_ERR_STATE (of another run: the text names what
///   differs in options, network or data; option "resume_despite" accepts differences by name), MRP_ERR_VERSION, MRP_ERR_ARGUMENT (NULL),
///   MRP_ERR_HANDLE, MRP_ERR_BUSY. After an error the trainer is as it was.
///
/// Since 0.1.
@_cdecl("mrp_trainer_resume")
public func mrp_trainer_resume(_ trainer: UnsafeMutablePointer<mrp_trainer>?, _ path: UnsafePointer<CChar>?) -> mrp_status {
    boundary {
        try withRun(trainer) { try $0.run.resume(from: string(path, "path"), cancel: $0.model.cancelFlag) }
    }
}

/// Suspends a run with a run_folder: its state is written there, and a run with the same options goes on from it, in this process or another,
/// with the same bits as without the stop. The trainer may go on too: its next step takes the run up again. What stops mrp_pretrain and
/// mrp_finetune before the end, a callback or an error, suspends them by itself. It cannot be stopped: it is what stopping calls.
///
/// - Errors: MRP_ERR_STATE (the run has no run_folder, or another run has trained the model since), MRP_ERR_IO (cannot be written), MRP_ERR_FORKED (the run belongs to the parent process),
///   MRP_ERR_ARGUMENT (NULL), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_trainer_suspend")
public func mrp_trainer_suspend(_ trainer: UnsafeMutablePointer<mrp_trainer>?) -> mrp_status {
    boundary { try withRun(trainer) { try $0.run.suspend() } }
}

/// Why a run has ended: "finished" (all steps are done), "time_budget" (it is used up), "early_stopping" (the measurements have not become
/// better), "suspended" (by mrp_trainer_suspend: the next step takes it up again).
///
/// - Returns: a static text, "" while the run goes on; NULL when `trainer` is not a live handle.
///
/// Since 0.1.
@_cdecl("mrp_trainer_end")
public func mrp_trainer_end(_ trainer: UnsafePointer<mrp_trainer>?) -> UnsafePointer<CChar>? {
    (try? Registry.find(trainer, TrainerHandle.self)).map { mt_static_name($0.end) }
}

/// How far a run is. The pointer is good as long as the trainer; each step renews what it shows, and any thread may read it meanwhile.
///
/// - Returns: the progress, or NULL when `trainer` is not a live handle.
///
/// Since 0.1.
@_cdecl("mrp_trainer_progress")
public func mrp_trainer_progress(_ trainer: UnsafePointer<mrp_trainer>?) -> UnsafePointer<mrp_progress>? {
    (try? Registry.find(trainer, TrainerHandle.self))?.progress.pointer
}

/// Destroys a trainer; the model keeps what it learned. NULL is allowed.
///
/// Since 0.1.
@_cdecl("mrp_trainer_destroy")
public func mrp_trainer_destroy(_ trainer: UnsafeMutablePointer<mrp_trainer>?) {
    Registry.remove(trainer)
}

private func progress(_ pointer: UnsafePointer<mrp_progress>?) -> (any ReadableProgress)? {
    (try? Registry.find(pointer, ProgressHandle.self))?.progress
}

/// What is being done: "pretrain" or "finetune"; in the laboratory "pretraining", "fine-tuning", "frozen probe", "supervised learning",
/// "study", or "control " and the control's name.
///
/// - Returns: a static text; "" when `progress` is not that of a live trainer or of a running call.
///
/// Since 0.1.
@_cdecl("mrp_progress_phase")
public func mrp_progress_phase(_ progress: UnsafePointer<mrp_progress>?) -> UnsafePointer<CChar> {
    mt_static_name(MRP.progress(progress)?.phase ?? "")
}

/// The finished share of the run.
///
/// - Returns: 0 ... 1; NaN when `progress` is not that of a live trainer or of a running call.
///
/// Since 0.1.
@_cdecl("mrp_progress_fraction")
public func mrp_progress_fraction(_ progress: UnsafePointer<mrp_progress>?) -> Double {
    MRP.progress(progress)?.fraction ?? .nan
}

/// A value of the run by name: "loss" (of the last step), "mean_loss" (over the current epoch), "learning_rate", "images_per_second",
/// "seconds", "seconds_left", "epoch", "step", "steps"; of the last measurement on held-out images "top1", "top5", "validation_loss",
/// "miou", "pixel_accuracy", "ap50", "ar_10", "ar_100", "recall", "false_positives", "knn_top1", "probe_top1", and "best" with "best_step"; "rollbacks", "unreadable_images"; in pretraining
/// "feature_std" and "feature_rank" of the last batch's features, which go to zero when they collapse; of objective montage "loss_level_0" and
/// "top1_level_0" (the share of images that found their target), "loss_level_1" and so on. In the laboratory "seed" (from 0), "seeds", "step"
/// and "steps" (of the phase), "loss", "captured" (features, at the last probe), "seconds", "seconds_left".
///
/// - Parameter name: which value.
/// - Returns: the value; NaN when it is unknown, not there yet, or `progress` is not that of a live trainer or of a running call.
///
/// Since 0.1.
@_cdecl("mrp_progress_value")
public func mrp_progress_value(_ progress: UnsafePointer<mrp_progress>?, _ name: UnsafePointer<CChar>?) -> Double {
    guard let name, let text = String(validatingCString: name) else { return .nan }
    return MRP.progress(progress)?.value(text) ?? .nan
}
