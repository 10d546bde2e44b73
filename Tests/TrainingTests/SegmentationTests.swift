import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Feature pyramids, the segmentation head and its losses against PyTorch (Tests/fixtures/dense); training, files and measures of segmenters.
@Suite struct SegmentationTests {
    private func fixture(_ name: String) throws -> (fixture: Fixture, model: Model, head: SegmentationHead) {
        let fixture = try Fixture(name, in: "dense")
        let encoder: any ImageEncoder
        if name == "resnet" {
            encoder = try fixture.convolutionalEncoder()
        } else {
            let width = try fixture.integer("width")
            let geometry = try PatchGeometry(
                channels: fixture.integer("channels"), height: fixture.integer("image_height"), width: fixture.integer("image_width"),
                patchHeight: fixture.integer("patch_height"), patchWidth: fixture.integer("patch_width"))
            let transformer = try TransformerConfiguration(
                width: width, depth: fixture.integer("depth"), heads: fixture.integer("heads"),
                hidden: width * fixture.integer("mlp_ratio"))
            encoder = VisionTransformer(geometry: geometry, transformer: transformer, epsilon: try fixture.number("layer_norm_eps"))
        }
        let head = try SegmentationHead(classes: fixture.integer("classes"), pyramid: FeaturePyramid(width: fixture.integer("pyramid")))
        let model = try Model(encoder: encoder, head: head, seed: 1)
        #expect(Set(fixture.keys("weights/")) == Set(model.parameters.tensors.keys))
        for key in fixture.keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            _ = tensor.float32.update(fromContentsOf: try fixture.values("weights/" + key))
        }
        return (fixture, model, head)
    }

    @Test(arguments: ["resnet", "vit"], [Precision.float32, .float64])
    func networksLossesAndGradientsAreTorchs(_ name: String, _ precision: Precision) throws {
        let (fixture, model, head) = try fixture(name)
        let (batch, tolerance) = (try fixture.integer("batch"), precision == .float32 ? 1e-4 : 2e-7)
        let compute = try Compute(precision: precision)
        let weights = try model.parameters.copies(precision: precision)

        let inference = Graph()
        let images = Inputs.images(inference, model.encoder.geometry, batch: batch)
        let scores = try head.outputs(images, of: model.encoder, model.builder(inference))
        let evaluation = try CPUProgram(inference, outputs: [scores], state: weights, compute: compute)
        try evaluation.write(reals: fixture.values("images"), to: Inputs.imagesName)
        try evaluation.run()
        #expect(try deviation(evaluation.reals(scores), fixture.values("expected/eval_logits")) <= tolerance)

        var objective = Segmentation(model.encoder, head, ignored: 255)
        (objective.focalGamma, objective.diceWeight) = (try fixture.number("gamma"), try fixture.number("dice_weight"))
        let graph = Graph()
        let losses = try objective.losses(model.builder(graph, training: true), batch: batch)
        let loss = try Loss.total(losses, in: graph)
        let trained = model.parameters.specifications.filter { fixture.file.entries["gradients/" + $0.name] != nil }
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let program = try CPUProgram(
            graph, outputs: losses.map(\.value) + values.compactMap { gradients[$0] }, state: weights, compute: compute)
        try program.write(reals: fixture.values("images"), to: Inputs.imagesName)
        let (labels, factors, presence) = try targets(fixture)
        try program.write(labels, to: Segmentation.labelsName)
        try program.write(reals: factors, to: Segmentation.factorsName)
        try program.write(reals: presence, to: Segmentation.presenceName)
        try program.run()
        #expect(try abs(program.scalar(losses[0].value) - fixture.number("pixels")) <= tolerance)
        #expect(try abs(program.scalar(losses[1].value) - fixture.number("dice")) <= tolerance)
        for (specification, value) in zip(trained, values) {
            let gradient = try #require(gradients[value], "gradient of \(specification.name)")
            let error = try deviation(program.reals(gradient), fixture.values("gradients/" + specification.name))
            #expect(error <= 2 * tolerance, "gradient of \(specification.name): \(error)")
        }
        #expect(trained.count > 60 || name == "vit")
    }

    /// Labels, factors and presence of the pixels of a case, by their definition.
    private func targets(_ fixture: Fixture) throws -> ([Int32], [Double], [Double]) {
        let ids = try fixture.values("ids").map { Int32($0) }
        let weights = try fixture.values("class_weights").map(Double.init)
        let own = ids.map { (id: Int32) -> Double in id == 255 ? 0 : weights[Int(id)] }
        let mean = own.reduce(0, +) / Double(ids.count)
        return (ids.map { $0 == 255 ? 0 : $0 }, own.map { $0 / mean }, ids.map { $0 == 255 ? 0 : 1 })
    }

    static let small = [
        ("task", "segment"), ("image_size", "16"), ("encoder", "resnet18"), ("width", "4"), ("pyramid_width", "8"), ("epochs", "3"),
        ("batch_size", "8"), ("threads", "1"), ("seed", "5"), ("learning_rate", "0.01"), ("warmup_epochs", "0"),
    ]

    private func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        for (key, value) in Self.small + changes { try options.set(key, value) }
        return options
    }

    private func scenes(_ count: Int = 16, first: Int = 0) throws -> SceneDataset {
        try SceneDataset(count: count, size: ImageSize(height: 16, width: 16), seed: 2, firstImage: first)
    }

    private func train(_ options: Options, _ dataset: ImageDataset, _ model: Model? = nil) throws -> Model {
        let model = try model ?? Model(encoder: options.encoder(), seed: options.seed)
        let trainer = try Trainer(model, dataset, options, .finetune)
        while try trainer.step() == .stepped {}
        return model
    }

    private static let families: [[(String, String)]] = [
        [], [("encoder", "convnextv2_atto"), ("dice_weight", "0.5")],
        [("encoder", "vit_mini"), ("patch_size", "4"), ("width", "16"), ("depth", "1"), ("heads", "2"), ("focal_gamma", "2")],
        [("frozen_encoder", "true"), ("pixel_weights", "0.5,1,1,1,1,1,1")],
    ]

    /// The same bytes for any number of threads, after a resumed run, and from a file.
    @Test(arguments: families) func trainingIsReproducible(_ changes: [(String, String)]) throws {
        let options = try options(changes)
        let (model, read) = try reproducedModels(stoppingAfter: 3, options, { try scenes() }) { threads in
            try train(self.options(changes + [("threads", threads), ("loader_threads", threads)]), scenes())
        }
        #expect(read.head?.isSame(as: try #require(model.head)) == true && read.classNames == model.classNames)
        var maps: [[UInt16]] = []
        for model in [model, read] {
            var map = [UInt16](repeating: 9, count: 4 * 256)
            #expect(try map.withUnsafeMutableBufferPointer { try Inference(model, options).segment(scenes(4), into: $0) })
            maps.append(map)
        }
        #expect(maps[0] == maps[1] && maps[0].allSatisfy { $0 < 7 })
    }

    @Test func aFrozenEncoderStaysAsItIs() throws {
        let options = try options([("frozen_encoder", "true")])
        let model = try Model(encoder: options.encoder(), seed: 5)
        let before = try model.parameters.copies(precision: .float32)
        _ = try train(options, scenes(), model)
        for (name, tensor) in before { #expect(tensor.float32.elementsEqual(try #require(model.parameters[name]).float32), "\(name)") }
        let fresh = try Model(encoder: options.encoder(), head: try #require(model.head), seed: 5)
        for name in ["fpn.lateral.0.weight", "fpn.output_norm.3.running_var", "segment_head.classifier.weight"] {
            #expect(!(try #require(fresh.parameters[name])).float32.elementsEqual(try #require(model.parameters[name]).float32), "\(name)")
        }
    }

    /// Scenes of one class of objects on ground.
    private func objects(_ count: Int, first: Int = 0) throws -> MaskedDataset {
        let size = ImageSize(height: 32, width: 32)
        let scenes = try SceneDataset(count: count, size: size, seed: 2, firstImage: first)
        var pixels = [Float](repeating: 0, count: count * 3 * 1_024)
        try pixels.withUnsafeMutableBufferPointer { try Datasets.copy(scenes, first: 0, count: count, size: size, into: $0) }
        var ids = [Int32](repeating: 0, count: 1_024)
        var masks: [UInt8] = []
        for index in 0..<count {
            try ids.withUnsafeMutableBufferPointer { try Datasets.copyMask(scenes, index, into: $0) }
            masks += ids.map { $0 > 0 ? 1 : 0 }
        }
        let images = try ArrayDataset(pixels: pixels, type: .float32, layout: .channelsFirst, count: count, channels: 3, size: size)
        return try MaskedDataset(images, masks: masks, type: .uint8, count: count, size: size, fill: 255)
    }

    /// Objects are found, and measures are what the maps say.
    @Test func measuresAreThoseOfTheMaps() throws {
        let options = try options([
            ("image_size", "32"), ("epochs", "20"), ("augmentation", "none"), ("dice_weight", "1"), ("pyramid_width", "16"),
        ])
        let (model, held) = (try train(options, objects(64)), try objects(8, first: 64))
        let inference = Inference(model, options)
        var map = [UInt16](repeating: 9, count: 8 * 1_024)
        #expect(try map.withUnsafeMutableBufferPointer { try inference.segment(held, into: $0) })
        var counts = [Int64](repeating: 0, count: 4)
        var ids = [Int32](repeating: 0, count: 1_024)
        for index in 0..<8 {
            try ids.withUnsafeMutableBufferPointer { try Datasets.copyMask(held, index, into: $0) }
            for (place, id) in ids.enumerated() { counts[Int(id) * 2 + Int(map[index * 1_024 + place])] += 1 }
        }
        let result = try #require(try inference.evaluateMaps(held))
        #expect(Array(result.confusion) == counts)
        #expect(result.pixels == 8_192)
        #expect(result.accuracy == Double(counts[0] + counts[3]) / 8_192)
        let wrong = counts[1] + counts[2]
        let mean = (Double(counts[0]) / Double(counts[0] + wrong) + Double(counts[3]) / Double(counts[3] + wrong)) / 2
        #expect(abs(result.meanIntersectionOverUnion - mean) < 1e-12)
        let ground = Double(counts[0] + counts[1]) / 8_192
        #expect(result.accuracy > ground + 0.03 && mean > 0.6, "\(result.accuracy), ground \(ground), mean IoU \(mean)")
        #expect(result.loss < 0.4)
        #expect(try result.value("miou") == result.meanIntersectionOverUnion)
        #expect(throws: MRPError.self) { try result.value("top1") }
    }

    @Test func wrongDataIsRefused() throws {
        func refused(_ part: String, _ body: () throws -> Void) {
            let error = #expect(throws: MRPError.self) { try body() }
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
        let options = try options()
        let plain = try Datasets.synthetic(count: 16, seed: 1, options)
        refused("task segment needs pixel masks") { _ = try train(options, plain) }
        refused("it has pixel masks: set task to segment") { _ = try train(self.options([("task", "classify")]), scenes()) }
        refused("mixes no images") { _ = try train(self.options([("mixup", "1")]), scenes()) }
        refused("pixel_weights has 2 numbers, there are 7 classes") { _ = try train(self.options([("pixel_weights", "1,2")]), scenes()) }
        refused("the masks have 7 classes, option classes is 3") { _ = try train(self.options([("classes", "3")]), scenes()) }
        let model = try train(options, scenes())
        let inference = Inference(model, options)
        refused("the model's head is segment") { _ = try inference.evaluate(plain) }
        refused("needs pixel masks") { _ = try inference.evaluateMaps(plain) }
        let other = try NamedClassesDataset(scenes(), names: ["ground", "disc", "square", "triangle", "bar", "cross", "egg"])
        refused("the class 'egg', which is none of the model's") { _ = try inference.evaluateMaps(other) }
        let classifier = try Model(encoder: options.encoder(), seed: 1)
        refused("fine-tune it with task segment first") { _ = try Inference(classifier, options).evaluateMaps(scenes()) }
    }

    /// A run is measured by its maps.
    @Test func aRunIsMeasured() throws {
        let options = try options([("epochs", "2")])
        let model = try Model(encoder: options.encoder(), seed: 5)
        let run = try TrainingRun(model, scenes(), options, .finetune, validation: Validation(heldOut: scenes(4, first: 16)))
        while try run.step() == .stepped {}
        let measured = run.progress.measures
        #expect(
            measured["miou"].map { $0 > 0 && $0 < 1 } == true && measured["pixel_accuracy"] != nil && measured["validation_loss"] != nil)
        #expect(measured["best"] != nil && measured["top1"] == nil)
    }
}
