import MRPData
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// The model that fine-tuning gives with the same bytes for 1 and 3 threads (`train`) and after a run that was stopped after some steps and
/// resumed, and what its file gives.
func reproducedModels(
    stoppingAfter steps: Int, _ options: Options, _ dataset: () throws -> SceneDataset, train: (_ threads: String) throws -> Model
) throws -> (trained: Model, read: Model) {
    let folder = try TemporaryFolder()
    let files = try ["1", "3"].map { threads in
        try ModelFile.save(train(threads), to: folder.file("model.safetensors"))
        return try bytes(folder.file("model.safetensors"))
    }
    #expect(files[0] == files[1])
    let first = try Trainer(Model(encoder: options.encoder(), seed: 5), dataset(), options, .finetune)
    for _ in 0..<steps { _ = try first.step() }
    try first.save(to: folder.file("run.ckpt"))
    let model = try Model(encoder: options.encoder(), seed: 9)
    let second = try Trainer(model, dataset(), options, .finetune)
    try second.resume(from: folder.file("run.ckpt"))
    while try second.step() == .stepped {}
    try ModelFile.save(model, to: folder.file("resumed.safetensors"))
    #expect(try bytes(folder.file("resumed.safetensors")) == files[0])
    return (model, try ModelFile.load(folder.file("resumed.safetensors")))
}
