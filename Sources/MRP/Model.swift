// # 4. Models
//
// A vision encoder with its weights, and the decoder (while it is pretrained) or the classifier head (once it is fine-tuned) that
// belongs to it. Files are safetensors with the names of the Hugging Face hub.

import CMRPKernels
import CMRPTypes
import MRPEngine
import MRPModels
import MRPTraining

final class ModelHandle: Handle {
    override class var kind: String { "model" }
    let model: Model
    /// Set by mrp_cancel while a call runs.
    let cancelFlag: UnsafeMutablePointer<Int32>

    init(_ model: Model) throws {
        guard let flag = mk_allocate_zeroed(4) else { throw MRPError(.memory, "cannot allocate the cancel flag") }
        self.model = model
        cancelFlag = flag.assumingMemoryBound(to: Int32.self)
    }

    deinit { mk_release(cancelFlag) }
}

/// Makes a model with fresh weights: the encoder that the options describe.
///
/// - Parameters:
///   - options: the section "network" and "seed" are read; NULL for the defaults.
///   - out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (sizes that do not fit together, such as an image size that is not a multiple of the patch size; NULL),
///   MRP_ERR_MEMORY, MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_model_create")
public func mrp_model_create(
    _ options: UnsafePointer<mrp_config>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let options = try MRP.options(options)
        let model = try Model(encoder: options.encoder(), seed: options.seed)
        out.pointee = Registry.add(try ModelHandle(model), as: mrp_model.self)
    }
}

/// Reads a model that mrp_model_save wrote.
///
/// - Parameters:
///   - path: the safetensors file.
///   - out: receives the handle.
/// - Errors: MRP_ERR_IO (cannot be read), MRP_ERR_FORMAT (not safetensors, damaged, or tensors missing, unexpected or mis-shaped: the text
///   names them), MRP_ERR_VERSION (of a newer library), MRP_ERR_NUMERIC (a weight is NaN or infinite), MRP_ERR_MEMORY, MRP_ERR_ARGUMENT.
///
/// Since 0.1.
@_cdecl("mrp_model_load")
public func mrp_model_load(
    _ path: UnsafePointer<CChar>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let path = try string(path, "path")
        out.pointee = Registry.add(try ModelHandle(ModelFile.load(path)), as: mrp_model.self)
        Log.write(MRP_LOG_INFO, "read a model from '\(path)'")
    }
}

/// Writes a model: a safetensors file that holds everything, and its configuration once more as JSON beside it (`encoder.safetensors`
/// and `encoder.json`). Each file is replaced as a whole; after an error each is either the old one or complete, and the
/// safetensors file, which is written first, never depends on the JSON.
///
/// - Parameter path: the safetensors file.
/// - Errors: MRP_ERR_IO (cannot be written), MRP_ERR_ARGUMENT (NULL), MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_save")
public func mrp_model_save(_ model: UnsafeMutablePointer<mrp_model>?, _ path: UnsafePointer<CChar>?) -> mrp_status {
    boundary {
        let name = try Registry.exclusively(model, ModelHandle.self) { handle in
            let path = try string(path, "path")
            try ModelFile.save(handle.model, to: path)
            return path
        }
        Log.write(MRP_LOG_INFO, "wrote a model to '\(name)'")
    }
}

/// Makes a copy with its own weights.
///
/// - Parameter out: receives the handle.
/// - Errors: MRP_ERR_ARGUMENT (NULL), MRP_ERR_MEMORY, MRP_ERR_HANDLE, MRP_ERR_BUSY.
///
/// Since 0.1.
@_cdecl("mrp_model_clone")
public func mrp_model_clone(
    _ model: UnsafeMutablePointer<mrp_model>?, _ out: UnsafeMutablePointer<UnsafeMutablePointer<mrp_model>?>?
) -> mrp_status {
    boundary {
        let out = try required(out, "out")
        let copy = try Registry.exclusively(model, ModelHandle.self) { try $0.model.copy() }
        out.pointee = Registry.add(try ModelHandle(copy), as: mrp_model.self)
    }
}

/// Describes a model as JSON: its configuration with the keys of a Hugging Face config.json, under "libmrp" what only this library
/// keeps, and under "weights" every weight's name, shape and number of elements.
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
        let text = try Registry.exclusively(model, ModelHandle.self) { ModelFile.describe($0.model).text() }
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
/// - Errors: MRP_ERR_IO (cannot be read), MRP_ERR_FORMAT (not safetensors, or damaged), MRP_ERR_MEMORY, MRP_ERR_ARGUMENT (buffer too small,
///   NULL).
///
/// Since 0.1.
@_cdecl("mrp_file_describe")
public func mrp_file_describe(
    _ path: UnsafePointer<CChar>?, _ buffer: UnsafeMutablePointer<CChar>?, _ capacity: Int64, _ needed: UnsafeMutablePointer<Int64>?
) -> mrp_status {
    boundary { try write(FileDescription.json(string(path, "path")).text(), buffer, capacity, needed) }
}

/// Stops the call that runs on a model, from any thread: it returns MRP_CANCELLED soon and the model keeps its last finished step.
///
/// - Returns: MRP_OK when a call was running, MRP_DONE when none was.
/// - Errors: MRP_ERR_ARGUMENT (NULL), MRP_ERR_HANDLE.
///
/// Since 0.1.
@_cdecl("mrp_cancel")
public func mrp_cancel(_ model: UnsafeMutablePointer<mrp_model>?) -> mrp_status {
    statusBoundary {
        let handle = try Registry.find(model, ModelHandle.self)
        guard Registry.isBusy(handle) else { return mrp_status(MRP_DONE) }
        mk_flag_store(handle.cancelFlag, 1)
        return mrp_status(MRP_OK)
    }
}

/// Destroys a model. NULL is allowed.
///
/// Since 0.1.
@_cdecl("mrp_model_destroy")
public func mrp_model_destroy(_ model: UnsafeMutablePointer<mrp_model>?) {
    Registry.remove(model)
}
