import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

func bytes(_ path: String) throws -> [UInt8] {
    let file = try FileBytes(path: path)
    return withExtendedLifetime(file) { Array(file.bytes) }
}

@Suite struct TrainerTests {
    func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "16"), ("patch_size", "4"), ("width", "32"), ("depth", "2"), ("heads", "2"), ("decoder_width", "16"),
            ("decoder_depth", "1"), ("decoder_heads", "2"), ("epochs", "2"), ("batch_size", "16"), ("threads", "1"), ("seed", "5"),
        ]
        for (key, value) in small + changes { try options.set(key, value) }
        return options
    }

    func images(_ options: Options, count: Int = 64) throws -> ImageDataset {
        try Datasets.synthetic(count: count, seed: 3, options)
    }

    func train(_ phase: Phase, _ options: Options, model: Model? = nil) throws -> Model {
        let model = try model ?? Model(encoder: options.encoder(), seed: options.seed)
        let trainer = try Trainer(model, images(options), options, phase)
        while try trainer.step() == .stepped {}
        #expect(trainer.progress.step == trainer.progress.steps)
        return model
    }

    @Test func sameSeedSameFileWhateverTheThreads() throws {
        let folder = try TemporaryFolder()
        var files: [[UInt8]] = []
        for (threads, loaders) in [("1", "0"), ("1", "1"), ("2", "1"), ("3", "2")] {
            let options = try options([("threads", threads), ("loader_threads", loaders)])
            let model = try train(.finetune, options, model: train(.pretrain, options))
            try ModelFile.save(model, to: folder.file("model.safetensors"))
            files.append(try bytes(folder.file("model.safetensors")))
        }
        for file in files { #expect(file == files[0]) }
        let other = try train(.pretrain, options([("seed", "6")]))
        try ModelFile.save(other, to: folder.file("model.safetensors"))
        #expect(try bytes(folder.file("model.safetensors")) != files[0])
    }

    static let everything = [
        ("accumulation_steps", "2"), ("batch_size", "8"), ("ema_decay", "0.7"), ("drop_path", "0.3"), ("clip_gradient", "0.5"),
        ("recompute", "true"),
    ]

    @Test(arguments: Phase.allCases, [[], everything])
    func resumedRunEndsWithTheSameBytes(_ phase: Phase, _ changes: [(String, String)]) throws {
        let folder = try TemporaryFolder()
        let options = try options(changes)
        try ModelFile.save(train(phase, options), to: folder.file("whole.safetensors"))
        let expected = try bytes(folder.file("whole.safetensors"))
        for cut in [0, 1, 3, 4, 7] {
            let first = try Trainer(Model(encoder: options.encoder(), seed: 5), images(options), options, phase)
            for _ in 0..<cut { _ = try first.step() }
            try first.save(to: folder.file("run.ckpt"))

            let model = try Model(encoder: options.encoder(), seed: 77)
            let second = try Trainer(model, images(options), self.options(changes + [("threads", "2")]), phase)
            try second.resume(from: folder.file("run.ckpt"))
            #expect(second.progress.step == cut)
            while try second.step() == .stepped {}
            try ModelFile.save(model, to: folder.file("resumed.safetensors"))
            #expect(try bytes(folder.file("resumed.safetensors")) == expected, "cut at step \(cut)")
        }
    }

    @Test func aCheckpointOfAnotherRunIsRefused() throws {
        let folder = try TemporaryFolder()
        let options = try options()
        let model = try Model(encoder: options.encoder(), seed: 5)
        try Trainer(model, images(options), options, .pretrain).save(to: folder.file("run.ckpt"))
        for (changes, expected) in [
            ([("seed", "9")], "seed 5, now 9"), ([("epochs", "3")], "epochs 2, now 3"),
            ([("accumulation_steps", "2"), ("epochs", "4")], "accumulation_steps 1, now 2"),
        ] {
            let other = try Trainer(Model(encoder: options.encoder(), seed: 5), images(options), self.options(changes), .pretrain)
            let error = #expect(throws: MRPError.self) { try other.resume(from: folder.file("run.ckpt")) }
            #expect(error?.code == .state)
            #expect(error?.message.contains(expected) == true, "\(error?.message ?? "")")
        }
    }

    @Test func learningLowersTheLoss() throws {
        let options = try options([("epochs", "30"), ("learning_rate", "3e-3")])
        let model = try Model(encoder: options.encoder(), seed: 1)
        let trainer = try Trainer(model, images(options), options, .pretrain)
        _ = try trainer.step()
        let first = trainer.progress.loss
        while try trainer.step() == .stepped {}
        #expect(trainer.progress.meanLoss < 0.85 * first)
        #expect(model.isPretrained)
    }

    @Test func savedModelsComeBack() throws {
        let folder = try TemporaryFolder()
        let options = try options()
        let model = try train(.finetune, options)
        let path = folder.file("classifier.safetensors")
        try ModelFile.save(model, to: path)
        let loaded = try ModelFile.load(path)
        let dataset = try images(options)
        let expected = try Inference(model, options).evaluate(dataset)
        let actual = try Inference(loaded, options).evaluate(dataset)
        #expect(expected?.loss == actual?.loss)
        #expect(loaded.classNames == model.classNames)
        #expect(loaded.normalization == model.normalization)
        try ModelFile.save(loaded, to: folder.file("again.safetensors"))
        #expect(try bytes(folder.file("again.safetensors")) == bytes(path))
    }

    /// A fresh head of the trainer and one of a file that gets other classes; a head that was trained stays as it is.
    @Test func headDeviationIsOfFreshHeads() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("model.safetensors")
        func deviation(_ model: Model) throws -> Double {
            let weights = try #require(model.parameters["head.weight"]).float32
            return (weights.reduce(0) { $0 + Double($1) * Double($1) } / Double(weights.count)).squareRoot()
        }
        let usual = try options(), small = try options([("head_deviation", "2e-5"), ("seed", "7")])
        let model = try train(.pretrain, usual)
        let classes = try images(usual).classCount
        let xavier = (2 / Double(32 + classes)).squareRoot()
        for (options, expected) in [(usual, xavier), (small, 2e-5)] {
            let copy = try model.copy()
            _ = try Trainer(copy, images(options), options, .finetune)
            #expect(abs(try deviation(copy) / expected - 1) < 0.25)
        }
        let trained = try train(.finetune, usual, model: model)
        let before = try deviation(trained)
        _ = try Trainer(trained, images(small), small, .finetune)
        #expect(try deviation(trained) == before)
        try ModelFile.save(trained, to: path)
        let other = try options([("head_deviation", "2e-5"), ("classifier", "new"), ("classes", "9")])
        #expect(abs(try deviation(ModelFile.load(path, other)) / 2e-5 - 1) < 0.25)
    }

    @Test func evaluationDoesNotDependOnTheBatch() throws {
        // 70 images: one full batch of 64 and a partial one.
        let options = try options()
        let model = try train(.finetune, options)
        let many = try images(options, count: 70)
        var together = [Float](repeating: 0, count: 70 * 10)
        try together.withUnsafeMutableBufferPointer { _ = try Inference(model, options).predict(many, into: $0) }
        for index in [0, 63, 64, 69] {
            var alone = [Float](repeating: 0, count: 10)
            try alone.withUnsafeMutableBufferPointer {
                _ = try Inference(model, options).predict(SubsetDataset(many, indices: [index]), into: $0)
            }
            for (a, b) in zip(alone, together[(10 * index)...]) { #expect(abs(a - b) < 1e-5) }
            #expect(abs(alone.reduce(0, +) - 1) < 1e-5)
        }
    }

    @Test func reconstructionKeepsVisiblePatches() throws {
        let options = try options()
        let model = try train(.pretrain, options)
        let dataset = try images(options, count: 3)
        let (values, patches) = (3 * 16 * 16, 16)
        var images = [Float](repeating: 0, count: 3 * values)
        var results = images
        var masks = [UInt8](repeating: 9, count: 3 * patches)
        let loss = try images.withUnsafeMutableBufferPointer { images in
            try results.withUnsafeMutableBufferPointer { results in
                try masks.withUnsafeMutableBufferPointer { masks in
                    try Inference(model, options).reconstruct(
                        dataset,
                        into: .init(images: images.baseAddress, reconstructions: results.baseAddress, masks: masks.baseAddress))
                }
            }
        }
        #expect(loss?.isFinite == true)
        for image in 0..<3 {
            let mask = masks[(image * patches)..<((image + 1) * patches)]
            #expect(mask.reduce(0) { $0 + Int($1) } == 12)
            for (patch, hidden) in mask.enumerated() {
                let offset = image * values + (patch / 4) * 4 * 16 + (patch % 4) * 4
                #expect((abs(images[offset] - results[offset]) < 1e-6) == (hidden == 0))
            }
        }
        for value in images { #expect(value > -0.001 && value < 1.001) }
    }

    @Test func cancelledStepIsRepeated() throws {
        let options = try options()
        let straight = try train(.pretrain, options)
        let model = try Model(encoder: options.encoder(), seed: 5)
        let trainer = try Trainer(model, images(options), options, .pretrain)
        var flag: Int32 = 0
        var steps = 0
        while true {
            flag = steps % 2 == 0 ? 1 : 0
            steps += 1
            if try trainer.step(cancel: &flag) == .finished { break }
        }
        for (name, tensor) in straight.parameters.tensors {
            #expect(Array(tensor.float32) == Array(try #require(model.parameters[name]).float32), "\(name)")
        }
    }
}
