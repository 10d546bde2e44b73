// # 4. Models
//
// A vision encoder with its weights, and the decoder (while it is pretrained) or the classifier head (once it is fine-tuned) that
// belongs to it. Files are safetensors with the names of the Hugging Face hub.

import CMRPKernels
import CMRPTypes
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining

final class ModelHandle: CancellableHandle {
    override class var kind: String { "model" }
    let model: Model
    /// On what its training is measured.
    var validation: Validation?
    /// Runs that were begun on it.
    var runs = 0
    /// The newest trainer, while it lives.
    weak var trainer: TrainerHandle?

    init(_ model: Model) throws {
        self.model = model
        super.init(try CancelFlag())
    }

    override func synchronize() throws { try model.refresh?() }
}

/// Makes a model with fresh weights: the encoder that the options describe.
///
/// - Parameters:
///   - options: the section "network" and "seed" are read; NULL for the defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (sizes that do not fit together, such as an image size that is not a multiple of the patch size; NULL),
///   MRP_ERR_UNSUPPORTED (experts in a convolutional network), MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_model_create")
public func mrp_model_create(
    _ options: UnsafePointer<mrp_config>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        let options = try MRP.options(options)
        let model = try Model(encoder: options.encoder(), seed: options.seed)
        out.pointee = try Registry.add(ModelHandle(model), as: mrp_model.self)
    }
}

/// Reads a model: a file that mrp_model_save wrote, or one of timm, transformers or facebookresearch/mae (docs/weights.md).
///
/// Which spelling of the names a file has is found out. What the file does not say is assumed where there is one usual answer, else an error
/// asks for the option; what was assumed, left out or changed is listed by mrp_model_describe under "notes".
///
/// - Parameters:
///   - path: a safetensors file, an index of several (model.safetensors.index.json), or a folder that holds one of them; a config.json beside
///     it is read. The file must not become shorter meanwhile.
///   - options: the section "files" says what may be changed on loading: "positions", "patch_weights", "channel_weights", "classifier". Then
///     "image_size", "patch_size", "channels" and "classes", where they are set, say to what; unset they follow the file. "heads",
///     "decoder_heads", "layer_norm_eps" and the image's size are read when the file does not say them. NULL for the defaults.
///   - out: receives the handle.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (cannot be read), MRP_ERR_FORMAT (not safetensors, damaged, or tensors missing, unexpected or mis-shaped: the text
///   names them), MRP_ERR_VERSION (of a newer library), MRP_ERR_UNSUPPORTED (another kind of model), MRP_ERR_NUMERIC (a weight is NaN or
///   infinite), MRP_ERR_MEMORY, MRP_ERR_ARGUMENT (NULL; another size is wanted and the option that allows it is not set), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_model_load")
public func mrp_model_load(
    _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    interruptible {
        let out = try required(out, "out")
        let path = try string(path, "path")
        let model = try ModelFile.load(path, MRP.options(options))
        out.pointee = try Registry.add(ModelHandle(model), as: mrp_model.self)
        Log.info("read a model from '\(path)'")
        for note in model.notes { Log.info("'\(path)': \(note)") }
    }
}

func writeFile(
    _ model: UnsafeMutablePointer<mrp_model>?, _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?, _ what: String,
    _ body: (Model, String, Options) throws -> Void
) -> mrp_status {
    boundary {
        let options = try MRP.options(options)
        let path = try Registry.exclusively(model, ModelHandle.self) { handle in
            let path = try string(path, "path")
            try Interruption.allowed(handle.cancelFlag) { try body(handle.model, path, options) }
            return path
        }
        Log.info("wrote \(what) to '\(path)'")
    }
}

/// Writes a model: a safetensors file that holds everything, and its configuration once more as JSON beside it (`encoder.safetensors`
/// and `encoder.json`; beside `model.safetensors` it is `config.json`). Each file is replaced as a whole; after an error each is either the
/// old one or complete, and the safetensors file, which is written first, never depends on the JSON.
///
/// - Parameters:
///   - path: the safetensors file, or a folder, which gets model.safetensors and config.json.
///   - options: "names" (the spelling: "hub", "timm", "transformers5", "transformers5_saved") and "weights_type" ("F32", "F16", "BF16"); NULL
///     for the defaults.
/// - Returns: MRP_CANCELLED when mrp_cancel or the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (cannot be written), MRP_ERR_NUMERIC (a weight is too large for F16), MRP_ERR_UNSUPPORTED (experts under
///   other names than "hub"), MRP_ERR_ARGUMENT (NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_save")
public func mrp_model_save(
    _ model: UnsafeMutablePointer<mrp_model>?, _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?
) -> mrp_status {
    writeFile(model, path, options, "a model") { try ModelFile.save($0, to: $1, $2) }
}

/// Writes a model as an ONNX file (opset 17) for any number of images at once. Input "images" [batch, channels, height, width]: floats in
/// 0 ... 1, or in the units of the float images that the model was trained on; they are standardised inside. Output of a classifier:
/// "logits" and "probabilities" [batch, classes], of another head "outputs"; of any other model "features", as mrp_encode gives them.
///
/// - Parameters:
///   - path: the file; it is replaced as a whole.
///   - options: "features" and "layer" as in mrp_encode; "classifier" = "new" leaves the classifier out and writes features. NULL for the
///     defaults.
/// - Returns: MRP_CANCELLED when mrp_cancel or the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (cannot be written), MRP_ERR_ARGUMENT (NULL, no such layer, "features" = "cls" of a network without class token,
///   a model larger than the 2 GiB that such a file can hold), MRP_ERR_UNSUPPORTED (a mixture of experts), MRP_ERR_MEMORY, MRP_ERR_HANDLE,
///   MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_export_onnx")
public func mrp_model_export_onnx(
    _ model: UnsafeMutablePointer<mrp_model>?, _ path: UnsafePointer<CChar>?, _ options: UnsafePointer<mrp_config>?
) -> mrp_status {
    writeFile(model, path, options, "an ONNX file") { try OnnxExport.write($0, to: $1, $2) }
}

/// Makes a copy with its own weights.
///
/// - Parameter out: receives the handle.
/// - Returns: MRP_CANCELLED when mrp_cancel or the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_ARGUMENT (NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_clone")
public func mrp_model_clone(
    _ model: UnsafeMutablePointer<mrp_model>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let copy = try Registry.exclusively(model, ModelHandle.self) { handle in
            try Interruption.allowed(handle.cancelFlag) { try handle.model.copy() }
        }
        out.pointee = try Registry.add(ModelHandle(copy), as: mrp_model.self)
    }
}

/// Describes a model as JSON: its configuration with the keys of a Hugging Face config.json, under "libmrp" what only this library
/// keeps, under "weights" every weight's name, shape and number of elements, under "features" tokens and width of each layer's output, under
/// "attention" heads and tokens of each layer (null: the layer has none), and under "notes" what was assumed, left out or changed when it was
/// read.
///
/// - Parameters:
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (buffer too small, NULL), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_describe")
public func mrp_model_describe(
    _ model: UnsafeMutablePointer<mrp_model>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64,
    _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        let text = try Registry.exclusively(model, ModelHandle.self) { try ModelFile.describe($0.model).text() }
        try write(text, buffer, capacity, needed)
    }
}

/// Copies one weight.
///
/// - Parameters:
///   - name: as mrp_model_describe lists it, such as "blocks.0.attn.qkv.weight".
///   - values: receives the elements, row-major; NULL with a capacity of 0 asks for the count only.
///   - capacity: elements in `values`.
///   - count: receives the number of elements; may be NULL.
/// - Errors: MRP_ERR_ARGUMENT (no such weight, too small, NULL), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_parameter")
public func mrp_model_parameter(
    _ model: UnsafeMutablePointer<mrp_model>?, _ name: UnsafePointer<CChar>?, _ values: UnsafeMutablePointer<Float>?, _ capacity: Int64,
    _ count: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary {
        try Registry.exclusively(model, ModelHandle.self) { handle in
            let name = try string(name, "name")
            guard let tensor = handle.model.parameters[name] else { throw MRPError(.argument, "the model has no weight named '\(name)'") }
            count?.pointee = Int64(tensor.count)
            if values == nil, capacity == 0 { return }
            _ = try output(values, capacity: capacity, needed: tensor.count, "values").update(fromContentsOf: tensor.float32)
        }
    }
}

/// Describes a file of this library as JSON, without making anything of it: "kind" ("model", "checkpoint", or "tensors" for safetensors of
/// other origin), "bytes", "configuration" and, of a checkpoint, "state", where there are such, and "tensors": every tensor's name, type and
/// shape.
///
/// - Parameters:
///   - path: the file.
///   - buffer: receives the text; NULL with a capacity of 0 asks for the size only.
///   - capacity: bytes in `buffer`.
///   - needed: receives the size of the text with its NUL; may be NULL.
/// - Returns: MRP_CANCELLED when the function of mrp_set_interrupt stopped it.
/// - Errors: MRP_ERR_IO (cannot be read), MRP_ERR_FORMAT (not safetensors, or damaged), MRP_ERR_ARGUMENT (buffer too small, NULL).
///
/// Since 0.1.
@_cdecl("mrp_file_describe")
public func mrp_file_describe(
    _ path: UnsafePointer<CChar>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    interruptible { try write(FileDescription.json(string(path, "path")).text(), buffer, capacity, needed) }
}

/// Stops the call that runs on a model, from any thread: it returns MRP_CANCELLED soon and the model keeps its last finished step.
///
/// - Returns: MRP_OK when a call was running, MRP_DONE when none was.
/// - Errors: MRP_ERR_ARGUMENT (NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_cancel")
public func mrp_cancel(_ model: UnsafeMutablePointer<mrp_model>?) -> mrp_status {
    cancel(model, ModelHandle.self)
}

/// Destroys a model. NULL is allowed.
///
/// Since 0.1.
@_cdecl("mrp_model_destroy")
public func mrp_model_destroy(_ model: UnsafeMutablePointer<mrp_model>?) {
    Registry.remove(model)
}
