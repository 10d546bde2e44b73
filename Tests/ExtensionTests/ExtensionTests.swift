import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// The registries, with the toys of this folder: each is one file that touches nothing in Sources.
private let registered: Bool = {
    do {
        try Objectives.registry.add(MeanColour.descriptor)
        try Encoders.registry.add(PatchMLP.family)
        try Heads.registry.add(ClassNumber.descriptor)
        try Losses.registry.add(DoubleCrossEntropy.descriptor)
        try Samplers.registry.add(BackwardSampler.descriptor)
        return true
    } catch {
        return false
    }
}()

@Suite struct ExtensionTests {
    init() throws { try #require(registered) }

    private func options(_ values: (String, String)...) throws -> Options {
        var options = Options()
        let small = [
            ("image_size", "16"), ("patch_size", "4"), ("batch_size", "4"), ("epochs", "2"), ("threads", "1"), ("warmup_epochs", "0"),
            ("augmentation", "none"),
        ]
        for (key, value) in small + values { try options.set(key, value) }
        return options
    }

    private func dataset(_ options: Options) throws -> any ImageDataset {
        try SyntheticDataset(count: 12, classes: 3, size: ImageSize(height: 16, width: 16), seed: 1)
    }

    private func weights(_ model: Model) -> [String: [Float]] { model.parameters.tensors.mapValues { Array($0.float32) } }

    /// Trains to the end; the losses.
    private func train(_ model: Model, _ options: Options, _ phase: Phase) throws -> [Double] {
        let trainer = try Trainer(model, dataset(options), options, phase)
        var losses: [Double] = []
        while try trainer.step() == .stepped { losses.append(trainer.progress.loss) }
        return losses
    }

    /// Writes an ONNX file; what it holds is what the library computes.
    private func checkExport(_ model: Model, _ path: String) throws {
        try OnnxExport.write(model, to: path)
        #expect(try FileBytes(path: path).bytes.count > 4 * model.parameters.count)
        let graph = try OnnxExport.graph(of: model, batch: 2)
        #expect(graph.outputs.map(\.name) == (model.head?.isClassifier == true ? ["logits", "probabilities"] : ["outputs"]))
        let comparison = try PrimitiveComparison(
            graph.graph, outputs: graph.outputs.map(\.value), state: model.parameters.tensors, compute: Compute()
        ) { program in
            let size = 2 * model.encoder.geometry.imageShape.reduce(1, *)
            try program.write(reals: (0..<size).map { Double($0 % 7) / 7 }, to: Inputs.imagesName)
        }
        #expect(comparison.error < 1e-5, "\(comparison.place)")
    }

    @Test func everythingIsAnOption() throws {
        let table = OptionTable.training
        #expect(try table.definition("objective").limits.hasSuffix("mean_colour"))
        #expect(try table.definition("encoder").limits.hasSuffix("patch_mlp_16"))
        #expect(try table.definition("task").limits == "classify, segment, instances, class_number")
        #expect(try table.definition("loss").limits.hasSuffix("double_cross_entropy"))
        #expect(try table.definition("sampler").limits.hasSuffix("backward"))
        #expect(try table.definition("colour_scale").defaultValue == "1")
        try table.check()
    }

    @Test(arguments: ["patch_mlp_16", "vit_micro", "resnet18"]) func objectiveTrainsResumesAndIsDropped(encoder: String) throws {
        let options = try options(("encoder", encoder), ("objective", "mean_colour"), ("colour_scale", "2"))
        let model = try Model(encoder: options.encoder(), seed: 3)
        let folder = try TemporaryFolder()
        let whole = try Trainer(model, dataset(options), options, .pretrain)
        let first = try Model(encoder: options.encoder(), seed: 3)
        let part = try Trainer(first, dataset(options), options, .pretrain)
        for _ in 0..<3 { #expect(try whole.step() == .stepped && part.step() == .stepped) }
        try part.save(to: folder.file("run.ckpt"))
        let second = try Model(encoder: options.encoder(), seed: 4)
        let rest = try Trainer(second, dataset(options), options, .pretrain)
        try rest.resume(from: folder.file("run.ckpt"))
        while try whole.step() == .stepped { #expect(try rest.step() == .stepped) }
        #expect(weights(model) == weights(second))
        #expect(whole.progress.loss == rest.progress.loss && whole.progress.loss.isFinite)
        try ModelFile.save(model, to: folder.file("model.safetensors"), options)
        let loaded = try ModelFile.load(folder.file("model.safetensors"))
        #expect(loaded.objective == nil && loaded.parameters["mean_colour.head.weight"] == nil && loaded.isPretrained)
    }

    @Test func encoderPretrainsFineTunesAndKeepsItsFile() throws {
        let options = try options(("encoder", "patch_mlp_16"), ("objective", "teacher_student"), ("loss", "double_cross_entropy"))
        let model = try Model(encoder: options.encoder(), seed: 3)
        #expect(try train(model, options, .pretrain).allSatisfy(\.isFinite))
        #expect(try train(model, options, .finetune).count == 6)
        let folder = try TemporaryFolder()
        try ModelFile.save(model, to: folder.file("model.safetensors"), options)
        let loaded = try ModelFile.load(folder.file("model.safetensors"))
        #expect(weights(loaded) == weights(model) && loaded.head?.classes == 3)
        try checkExport(loaded, folder.file("model.onnx"))
        #expect(throws: MRPError.self) { try train(model, self.options(("loss", "double_cross_entropy"), ("mixup", "1")), .finetune) }
    }

    @Test func headHasItsOwnTargetsAndLoss() throws {
        let options = try options(("encoder", "patch_mlp_16"), ("task", "class_number"), ("epochs", "20"), ("learning_rate", "0.01"))
        let model = try Model(encoder: options.encoder(), seed: 3)
        let losses = try train(model, options, .finetune)
        #expect(losses.count == 60 && losses.suffix(3).reduce(0, +) < losses.prefix(3).reduce(0, +))
        let folder = try TemporaryFolder()
        try ModelFile.save(model, to: folder.file("model.safetensors"), options)
        let loaded = try ModelFile.load(folder.file("model.safetensors"))
        #expect(loaded.head?.name == "class_number" && weights(loaded) == weights(model))
        try checkExport(loaded, folder.file("model.onnx"))
    }

    @Test func samplerDecidesTheOrder() throws {
        let options = try options(("encoder", "patch_mlp_16"), ("sampler", "backward"))
        var seen: [Int64] = []
        var plain = options
        try plain.set("objective", "mae")
        try plain.set("encoder", "vit_micro")
        let model = try Model(encoder: plain.encoder(), seed: 3)
        let trainer = try Trainer(model, dataset(options), plain, .pretrain)
        trainer.masking = { indices, noise in
            seen += indices
            for place in noise.indices { noise[place] = Float(place) }
            return true
        }
        for _ in 0..<3 { #expect(try trainer.step() == .stepped) }
        #expect(seen == (0..<12).reversed().map(Int64.init))
    }
}
