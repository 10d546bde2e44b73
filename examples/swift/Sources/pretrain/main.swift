// Pretrains with the library's Swift modules: `swift run -c release` in this folder. MRP_EPOCHS=1 makes it short.

import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining

do {
    var options = try Options(preset: "mae_vit_mini_32")
    try options.set("epochs", getenv("MRP_EPOCHS").map { String(cString: $0) } ?? "5")
    try options.set("image_size", "16")
    try options.set("batch_size", "32")

    let images = try Datasets.synthetic(count: 256, seed: 1, options)
    let model = try Model(encoder: options.encoder(), seed: options.seed)
    let trainer = try Trainer(model, images, options, .pretrain)
    print(trainer.summary)
    while case .stepped = try trainer.step() {}
    print("loss \(trainer.progress.loss)")
    try ModelFile.save(model, to: "encoder.safetensors")
} catch let error as MRPError {
    print("error: \(error.message)")
    exit(1)
}
