import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Masked pretraining of convolutional networks against an independent definition (see Tests/fixtures/spark/README.md).
@Suite struct SparseMaskedModelingTests {
    static let cases = [
        "resnet18_cifar", "resnet18_cifar_cells16", "resnet18_imagenet", "resnet50_imagenet", "resnet18_cifar_zero", "convnext_cifar",
        "convnext_imagenet",
    ]

    func model(_ fixture: Fixture) throws -> Model {
        let encoder = try fixture.convolutionalEncoder(cellSize: fixture.integer("cell_size"))
        let count = Double(encoder.geometry.count)
        let objective = try SparseMaskedModeling(
            encoder, decoder: ConvolutionalDecoder(width: fixture.integer("decoder_width")),
            masks: MaskChoice(.random, ratio: (count - fixture.number("visible")) / count, roundsToNearest: true),
            normalizesTargets: fixture.flag("norm_pix_loss"),
            hiddenCells: #require(HiddenCells(rawValue: fixture.text("hidden_cells"))))
        #expect(try objective.visibleCount() == fixture.integer("visible"))
        let model = try Model(encoder: encoder, objective: objective, seed: 1)
        #expect(Set(fixture.keys("weights/")) == Set(model.parameters.tensors.keys))
        for specification in model.parameters.specifications {
            let entry = try #require(fixture.file.entries["weights/" + specification.name], "weight \(specification.name)")
            #expect(entry.shape == specification.storedShape, "shape of \(specification.name)")
            let tensor = try #require(model.parameters[specification.name])
            _ = tensor.float32.update(fromContentsOf: try fixture.values("weights/" + specification.name))
        }
        return model
    }

    func fill(_ program: any Program, _ fixture: Fixture) throws {
        #expect(try program.write(reals: fixture.values("images"), to: Inputs.imagesName))
        for (key, input) in [("visible", PatchMask.visibleInput), ("hidden", PatchMask.hiddenInput)] {
            try program.write(fixture.values(key).map { Int32($0) }, to: input)
        }
    }

    func check(_ name: String, precision: Precision, tolerance: Double) throws {
        let fixture = try Fixture(name, in: "spark")
        let model = try model(fixture)
        let objective = try #require(model.objective as? SparseMaskedModeling)
        let (batch, compute) = (try fixture.integer("batch"), try Compute(precision: precision))
        let weights = try model.parameters.copies(precision: precision)

        let inference = Graph()
        let prediction = try objective.prediction(model.builder(inference), batch: batch)
        let evaluation = try CPUProgram(inference, outputs: [prediction], state: weights, compute: compute)
        try fill(evaluation, fixture)
        try evaluation.run()
        let error = try deviation(evaluation.reals(prediction), fixture.values("expected/prediction"))
        #expect(error <= tolerance, "prediction: \(error)")

        let graph = Graph()
        let loss = try objective.loss(model.builder(graph, training: true), batch: batch)
        let trained = model.parameters.specifications.filter { $0.isTrainable }
        let values = trained.map { graph.boundValue($0.name) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values.compactMap { $0 })
        let program = try CPUProgram(graph, outputs: [loss] + gradients.values, state: weights, compute: compute)
        try fill(program, fixture)
        try program.run()
        let expectedLoss = try fixture.number("loss")
        #expect(try abs(program.scalar(loss) - expectedLoss) <= tolerance * expectedLoss, "loss")
        var checked = Set<String>()
        // The weight before a batch norm has no influence on the loss when it is a mere scale or shift: its gradient is rounding.
        for (specification, value) in zip(trained, values) {
            guard let value, let gradient = gradients[value] else { continue }
            let expected = try fixture.values("gradients/" + specification.name)
            let error = try deviation(program.reals(gradient), expected)
            #expect(error <= tolerance, "gradient of \(specification.name): \(error)")
            checked.insert(specification.name)
        }
        #expect(checked == Set(fixture.keys("gradients/")))
        for key in fixture.keys("final/") {
            let tensor = try #require(weights[key])
            let error = deviation((0..<tensor.count).map { tensor[$0] }, try fixture.values("final/" + key))
            #expect(error <= tolerance, "\(key): \(error)")
        }
    }

    @Test(arguments: cases) func float32(_ name: String) throws { try check(name, precision: .float32, tolerance: 1e-4) }

    /// In float64 both definitions are the same to the rounding of the stored expectation.
    @Test(arguments: cases) func float64(_ name: String) throws { try check(name, precision: .float64, tolerance: 2e-7) }

    // MARK: From options to pictures

    func options(_ changes: [String: String] = [:]) throws -> Options {
        var options = Options()
        let small = [
            "encoder": "resnet18", "width": "4", "image_size": "16", "batch_size": "20", "epochs": "4", "threads": "2", "seed": "3",
            "synthetic_classes": "2", "decoder_width": "16", "learning_rate": "2e-3", "warmup_epochs": "0",
        ]
        for (key, value) in small.merging(changes, uniquingKeysWith: { $1 }) { try options.set(key, value) }
        return options
    }

    func pretrained(_ options: Options, _ data: any ImageDataset) throws -> (model: Model, losses: [Double]) {
        let model = try Model(encoder: options.encoder(), seed: options.seed)
        let trainer = try Trainer(model, data, options, .pretrain)
        var losses: [Double] = []
        while try trainer.step() == .stepped { losses.append(trainer.progress.loss) }
        return (model, losses)
    }

    /// Pretraining, a file, pictures, and fine-tuning, for both kinds of network and both ways with hidden cells.
    @Test(arguments: [
        ("resnet18", "skip", "auto"), ("resnet18", "zero", "spark"), ("convnextv2_atto", "skip", "spark"), ("resnet50", "skip", "auto"),
    ])
    func training(_ choice: (encoder: String, hiddenCells: String, objective: String)) throws {
        let options = try options(["encoder": choice.encoder, "hidden_cells": choice.hiddenCells, "objective": choice.objective])
        let data = try Datasets.synthetic(count: 60, seed: 3, options)
        let (model, losses) = try pretrained(options, data)
        #expect(losses.count == 12)
        #expect(try #require(losses.last) < losses[0])
        #expect(model.objective is SparseMaskedModeling && model.isPretrained)
        let single = try pretrained(self.options(["encoder": choice.encoder, "hidden_cells": choice.hiddenCells, "threads": "1"]), data)
        #expect(single.losses == losses, "threads change nothing")

        let folder = try TemporaryFolder()
        let path = folder.file("model.safetensors")
        try ModelFile.save(model, to: path)
        let loaded = try ModelFile.load(path)
        #expect((loaded.objective as? SparseMaskedModeling)?.hiddenCells.rawValue == choice.hiddenCells)
        func picture(_ model: Model) throws -> (loss: Double, pixels: [Float], masks: [UInt8]) {
            var (pixels, masks) = ([Float](repeating: .nan, count: 60 * 768), [UInt8](repeating: 9, count: 60 * 4))
            let loss = try pixels.withUnsafeMutableBufferPointer { pixels in
                try masks.withUnsafeMutableBufferPointer { masks in
                    try Inference(model, options).reconstruct(
                        data, into: .init(reconstructions: pixels.baseAddress, masks: masks.baseAddress))
                }
            }
            return (try #require(loss), pixels, masks)
        }
        let (loss, pixels, masks) = try picture(model)
        #expect(loss.isFinite && pixels.allSatisfy { $0.isFinite } && masks.reduce(0) { $0 + Int($1) } == 60 * 2)
        #expect(try picture(loaded) == (loss, pixels, masks))

        // Another image size leaves the decoder out; fine-tuning drops it.
        var larger = Options()
        try larger.set("image_size", "24")
        #expect(try ModelFile.load(path, larger).objective == nil)
        _ = try Trainer(loaded, data, options, .finetune).step()
        #expect(loaded.objective == nil && !loaded.parameters.tensors.keys.contains { $0.hasPrefix("dense_decoder") })
    }

    /// A run that is stopped and resumed ends as one that was not.
    @Test func resume() throws {
        let options = try options()
        let data = try Datasets.synthetic(count: 60, seed: 3, options)
        let whole = try pretrained(options, data)
        let folder = try TemporaryFolder()
        let first = try Trainer(Model(encoder: options.encoder(), seed: 3), data, options, .pretrain)
        for _ in 0..<5 { _ = try first.step() }
        try first.save(to: folder.file("run.ckpt"))
        let second = try Trainer(Model(encoder: options.encoder(), seed: 8), data, options, .pretrain)
        try second.resume(from: folder.file("run.ckpt"))
        while try second.step() == .stepped {}
        #expect(second.progress.loss == whole.losses.last)
        for (name, tensor) in whole.model.parameters.tensors {
            #expect(try #require(second.model.parameters[name]).float32.elementsEqual(tensor.float32), "\(name)")
        }
    }

    /// Branches of ConvNeXt are left out by the same draws whatever the threads; a residual network refuses.
    @Test func dropPath() throws {
        var losses: [[Double]] = []
        for (rate, threads) in [("0", "1"), ("0.5", "1"), ("0.5", "2")] {
            let options = try options(["encoder": "convnextv2_atto", "drop_path": rate, "threads": threads, "epochs": "1"])
            losses.append(try pretrained(options, Datasets.synthetic(count: 40, seed: 3, options)).losses)
        }
        #expect(losses[1] == losses[2] && losses[0] != losses[1] && losses[1].allSatisfy { $0.isFinite })
        let refused = #expect(throws: MRPError.self) {
            let options = try options(["drop_path": "0.5"])
            _ = try pretrained(options, Datasets.synthetic(count: 40, seed: 3, options))
        }
        #expect(refused?.code == .unsupported)
    }

    @Test(arguments: [
        (
            ["objective": "mae"],
            "objective mae needs a vision transformer as encoder: its decoder takes tokens, a convolutional network learns pixels by spark or simmim"
        ),
        (
            ["encoder": "vit_mini", "objective": "spark"],
            "objective spark needs a convolutional network as encoder: a vision transformer takes mae"
        ),
        (["image_size": "20"], "images of 20 x 20 are not made of cells of 8 pixels, the network's downsampling"),
        (["decoder_width": "12"], "decoder_width 12 is not a multiple of 8: it is halved 3 times"),
        (["cell_size": "12"], "cell_size 12 is not a multiple of 8, the network's downsampling"),
        (["cell_size": "16"], "mask_ratio 0.6 hides 1 of 1 cells: at least one must stay visible and one be hidden"),
        (["mask_ratio": "0.1"], "mask_ratio 0.1 hides 0 of 4 cells: at least one must stay visible and one be hidden"),
    ])
    func limits(_ refused: (changes: [String: String], message: String)) throws {
        let options = try options(refused.changes)
        let error = #expect(throws: MRPError.self) {
            let model = try Model(encoder: options.encoder(), seed: 3)
            _ = try Trainer(model, Datasets.synthetic(count: 4, seed: 3, options), options, .pretrain)
        }
        #expect(error?.message == refused.message)
    }

    /// A share of the caller's is rounded as the objective rounds its own: to the nearest here, down in a masked autoencoder.
    @Test func reconstructionsRoundAsTraining() throws {
        let network = try ResidualNetwork(ResidualNetwork.sizes[0], stem: .cifar, baseWidth: 8, channels: 3, height: 32, width: 32)
        let sparse = try SparseMaskedModeling(network, decoder: ConvolutionalDecoder(width: 32), normalizesTargets: true)
        #expect(try sparse.visibleCount(ratio: 0.65) == 6 && sparse.withVisibleCount(3).visibleCount() == 3)
        let transformer = try VisionTransformer(
            geometry: PatchGeometry(channels: 3, height: 32, width: 32, patchHeight: 8, patchWidth: 8),
            transformer: TransformerConfiguration(width: 16, depth: 1, heads: 2))
        let masked = try MaskedAutoencoder(
            transformer, decoder: MaskedDecoder(TransformerConfiguration(width: 8, depth: 1, heads: 2)), normalizesTargets: true)
        #expect(try masked.visibleCount(ratio: 0.65) == 5)
    }
}
