import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// The network of instances, its targets and losses against PyTorch (Tests/fixtures/dense); training, files, what it finds and measures.
@Suite struct InstanceTests {
    private func fixture() throws -> (fixture: Fixture, model: Model, objective: InstanceSegmentation) {
        let fixture = try Fixture("instances", in: "dense")
        let head = try InstanceHead(
            pyramid: FeaturePyramid(width: fixture.integer("pyramid")), gridStride: fixture.integer("grid_stride"),
            maskChannels: fixture.integer("mask_channels"), hasForeground: true)
        let model = try Model(encoder: fixture.convolutionalEncoder(), head: head, seed: 1)
        #expect(Set(fixture.keys("weights/")) == Set(model.parameters.tensors.keys))
        for key in fixture.keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            _ = tensor.float32.update(fromContentsOf: try fixture.values("weights/" + key))
        }
        var objective = try InstanceSegmentation(model.encoder, head, ignored: 255)
        objective.consistency = try fixture.number("weight")
        return (fixture, model, objective)
    }

    @Test(arguments: [Precision.float32, .float64]) func theNetworkIsTorchs(_ precision: Precision) throws {
        let (fixture, model, objective) = try fixture()
        let tolerance = precision == .float32 ? 1e-4 : 2e-7
        let graph = Graph()
        let images = Inputs.images(graph, model.encoder.geometry, batch: try fixture.integer("batch"))
        let answer = try objective.head.answer(images, of: model.encoder, model.builder(graph))
        let foreground = try #require(answer.foreground)
        let all = [
            ("objectness", answer.objectness), ("kernels", answer.kernels), ("features", answer.features.value), ("foreground", foreground),
            ("masks", try InstanceHead.masks(answer.kernels, answer.features, graph)),
        ]
        let program = try CPUProgram(
            graph, outputs: all.map(\.1), state: model.parameters.copies(precision: precision), compute: Compute(precision: precision))
        try program.write(reals: fixture.values("images"), to: Inputs.imagesName)
        try program.run()
        for (name, value) in all {
            let error = try deviation(program.reals(value), fixture.values("expected/" + name))
            #expect(error <= tolerance, "\(name): \(error)")
        }
    }

    /// The targets that `prepare` makes of ids, the terms of the loss, and all gradients.
    @Test(arguments: [Precision.float32, .float64]) func targetsLossesAndGradientsAreTorchs(_ precision: Precision) throws {
        let (fixture, model, objective) = try fixture()
        let tolerance = precision == .float32 ? 2e-4 : 1e-6
        let batch = try fixture.integer("batch")
        let graph = Graph()
        let losses = try objective.losses(model.builder(graph, training: true), batch: batch)
        let loss = try Loss.total(losses, in: graph)
        let trained = model.parameters.specifications.filter { fixture.file.entries["gradients/" + $0.name] != nil }
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let program = try CPUProgram(
            graph, outputs: losses.map(\.value) + values.compactMap { gradients[$0] },
            state: model.parameters.copies(precision: precision), compute: Compute(precision: precision))
        try program.write(reals: fixture.values("images"), to: Inputs.imagesName)
        try program.write(fixture.number("ramp"), to: .lossRamp)
        try write(inputs(of: objective, fixture, batch: batch), to: program)
        try program.run()
        for term in losses {
            let (own, theirs) = (try program.scalar(term.value), try fixture.number(term.name))
            #expect(abs(own - theirs) <= tolerance, "\(term.name): \(own), \(theirs)")
        }
        for (specification, value) in zip(trained, values) {
            let gradient = try #require(gradients[value], "gradient of \(specification.name)")
            let error = try deviation(program.reals(gradient), fixture.values("gradients/" + specification.name))
            #expect(error <= 3 * tolerance, "gradient of \(specification.name): \(error)")
        }
        #expect(trained.count > 80)
    }

    /// What `prepare` fills, in float32 as training has it; compared with the fixture.
    private func inputs(of objective: InstanceSegmentation, _ fixture: Fixture, batch: Int) throws -> [String: [Double]] {
        let graph = Graph()
        let parameters = try fixture.model(objective)
        let losses = try objective.losses(parameters.builder(graph, training: true), batch: batch)
        let program = try CPUProgram(
            graph, outputs: losses.map(\.value), state: parameters.parameters.tensors, compute: Compute(precision: .float32))
        let ids = try fixture.values("ids").map { Int32($0) }
        let (indices, labels) = ((0..<Int64(batch)).map { $0 }, [Int32](repeating: -1, count: batch))
        try ids.withUnsafeBufferPointer { ids in
            try indices.withUnsafeBufferPointer { indices in
                try labels.withUnsafeBufferPointer { labels in
                    let step = TrainingStep(
                        slice: BatchSlice(whole: batch), seed: 1, step: 0, indices: indices, labels: labels, pixelTargets: ids)
                    _ = try objective.prepare(step, program)
                }
            }
        }
        typealias Input = InstanceSegmentation.Input
        var found: [String: [Double]] = [:]
        for name in [
            Input.objectness, Input.objectnessFactors, Input.masks, Input.maskFactors, Input.foreground, Input.foregroundFactors,
        ] {
            found[name] = try program.withInput(name, as: Float.self) { $0.map(Double.init) }
        }
        found[Input.cells] = try program.withInput(Input.cells, as: Int32.self) { $0.map(Double.init) }
        let cells = try #require(found[Input.cells]), most = cells.count / batch
        let positive = cells.indices.filter { cells[$0] >= 0 }
        #expect(positive.flatMap { [Double($0 / most), cells[$0]] } == (try fixture.values("targets/cells").map(Double.init)))
        let masks = try #require(found[Input.masks]), places = masks.count / cells.count
        let own = positive.flatMap { masks[$0 * places..<($0 + 1) * places] }
        #expect(try deviation(own, fixture.values("targets/masks")) < 1e-6)
        #expect(found[Input.objectness] == (try fixture.values("targets/objectness").map(Double.init)))
        #expect(try deviation(#require(found[Input.foreground]), fixture.values("targets/foreground")) < 1e-6)
        #expect(found[Input.foregroundFactors] == [1.5, 1.5, 0])
        return found
    }

    private func write(_ inputs: [String: [Double]], to program: CPUProgram) throws {
        for (name, numbers) in inputs {
            if name == InstanceSegmentation.Input.cells {
                try program.write(numbers.map { Int32($0) }, to: name)
            } else {
                try program.write(reals: numbers, to: name)
            }
        }
    }

    static let small = [
        ("task", "instances"), ("image_size", "16"), ("encoder", "resnet18"), ("width", "4"), ("pyramid_width", "8"), ("epochs", "3"),
        ("batch_size", "8"), ("threads", "1"), ("seed", "5"), ("learning_rate", "0.01"), ("warmup_epochs", "0"), ("mask_kind", "objects"),
    ]

    private func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        for (key, value) in Self.small + changes { try options.set(key, value) }
        return options
    }

    private func scenes(_ count: Int = 16, first: Int = 0, side: Int = 16) throws -> SceneDataset {
        try SceneDataset(count: count, size: ImageSize(height: side, width: side), kind: .objects, seed: 2, firstImage: first)
    }

    private func train(_ options: Options, _ dataset: ImageDataset, _ model: Model? = nil) throws -> Model {
        let model = try model ?? Model(encoder: options.encoder(), seed: options.seed)
        let trainer = try Trainer(model, dataset, options, .finetune)
        while try trainer.step() == .stepped {}
        return model
    }

    private struct Answer: Equatable {
        var counts: [Int64]
        var scores: [Float]
        var boxes: [Int32]
        var ids: [UInt16]
    }

    private func found(_ model: Model, _ options: Options, _ dataset: SceneDataset) throws -> Answer {
        let (images, pixels) = (dataset.count, dataset.size.height * dataset.size.width)
        var answer = Answer(
            counts: [Int64](repeating: 9, count: images), scores: [Float](repeating: 9, count: images * 100),
            boxes: [Int32](repeating: 9, count: images * 400), ids: [UInt16](repeating: 9, count: images * pixels))
        let finished = try answer.counts.withUnsafeMutableBufferPointer { counts in
            try answer.scores.withUnsafeMutableBufferPointer { scores in
                try answer.boxes.withUnsafeMutableBufferPointer { boxes in
                    try answer.ids.withUnsafeMutableBufferPointer { ids in
                        try Inference(model, options).instances(
                            dataset, into: .init(counts: counts, scores: scores, boxes: boxes, ids: ids))
                    }
                }
            }
        }
        #expect(finished)
        answer.scores = answer.scores.map { $0.isNaN ? -1 : $0 }
        return answer
    }

    private static let families: [[(String, String)]] = [
        [("consistency", "1"), ("consistency_warmup", "0.1")], [("frozen_encoder", "true"), ("foreground", "true")],
        [("encoder", "vit_mini"), ("patch_size", "4"), ("width", "16"), ("depth", "1"), ("heads", "2"), ("accumulation_steps", "2")],
    ]

    /// The same bytes for any number of threads, after a resumed run, and from a file.
    @Test(arguments: families) func trainingIsReproducible(_ changes: [(String, String)]) throws {
        let options = try options(changes)
        let (model, read) = try reproducedModels(stoppingAfter: 2, options, { try scenes() }) { threads in
            try train(self.options(changes + [("threads", threads), ("loader_threads", threads)]), scenes())
        }
        #expect(read.head?.isSame(as: try #require(model.head)) == true && read.classNames == ["ground", "object"])
        let low = try self.options(changes + [("score_threshold", "0")])
        let answers = try [model, read].map { try found($0, low, scenes(3)) }
        #expect(answers[0] == answers[1])
    }

    /// Objects are found; the map says the same as boxes, scores and measures.
    @Test func objectsAreFound() throws {
        let options = try options([
            ("image_size", "32"), ("epochs", "20"), ("augmentation", "none"), ("pyramid_width", "16"), ("width", "8"),
            ("consistency", "0.5"),
            ("batch_size", "16"), ("warmup_epochs", "1"),
        ])
        let (model, held) = (try train(options, scenes(96, side: 32)), try scenes(12, first: 96, side: 32))
        let answer = try found(model, options, held)
        for image in 0..<12 {
            let ids = answer.ids[image * 1_024..<(image + 1) * 1_024], count = Int(answer.counts[image])
            #expect(ids.max().map { Int($0) <= count } == true)
            let scores = answer.scores[image * 100..<(image + 1) * 100]
            #expect(zip(scores, scores.dropFirst()).allSatisfy { $0 >= $1 } && scores.count { $0 >= 0.3 } == count)
            for (place, id) in ids.enumerated() where id > 0 {
                let box = answer.boxes[image * 400 + Int(id - 1) * 4..<image * 400 + Int(id) * 4].map(Int.init)
                #expect(place % 32 >= box[0] && place / 32 >= box[1] && place % 32 < box[2] && place / 32 < box[3])
            }
        }
        let result = try #require(try Inference(model, options).evaluateInstances(held))
        #expect(result.objects > 36 && result.precision50 > 0.1 && result.recall10 <= result.recall100, "\(result)")
        let other = try self.options([("score_threshold", "0.999"), ("image_size", "32")])
        let strict = try #require(try Inference(model, other).evaluateInstances(held))
        #expect(strict.recall < result.recall && strict.precision50 == result.precision50)
        #expect(throws: MRPError.self) { try result.value("miou") }
    }

    @Test func theRampIsASlope() throws {
        var objective = try fixture().objective
        #expect([0, 0.2, 0.3, 0.4, 1].map { objective.lossRamp(fraction: $0) }.elementsEqual([0, 0, 0.5, 1, 1]) { abs($0 - $1) < 1e-12 })
        objective.warmup = 0
        #expect(objective.lossRamp(fraction: 0) == 1)
    }

    /// Without annotations only the agreement is learned, with another image's foreground something else.
    @Test func unlabelledImagesAreForTheAgreementAlone() throws {
        let size = ImageSize(height: 16, width: 16)
        let unknown = try MaskedDataset(
            scenes(), masks: [UInt8](repeating: 255, count: 16 * 256), type: .uint8, count: 16, size: size, kind: .objects, fill: 255)
        var weights: [[Float]] = []
        for changes in [[], [("consistency", "1")], [("consistency", "1"), ("consistency_with", "other")]] {
            let options = try options(changes + [("consistency_warmup", "0"), ("weight_decay", "0"), ("foreground", "true")])
            let model = try train(options, unknown)
            weights.append(Array(try #require(model.parameters["instance_head.kernel.weight"]).float32))
        }
        let fresh = try Model(
            encoder: options().encoder(),
            head: InstanceHead(pyramid: FeaturePyramid(width: 8), gridStride: 4, maskChannels: 16, hasForeground: true), seed: 5)
        #expect(weights[0] == Array(try #require(fresh.parameters["instance_head.kernel.weight"]).float32))
        #expect(weights[1] != weights[0] && weights[2] != weights[0] && weights[2] != weights[1])
    }

    @Test func wrongDataIsRefused() throws {
        func refused(_ part: String, _ body: () throws -> Void) {
            let error = #expect(throws: MRPError.self) { try body() }
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
        let options = try options(), ofClasses = try SceneDataset(count: 16, size: ImageSize(height: 16, width: 16), seed: 2)
        refused("task instances needs masks of objects, these are of classes: set mask_kind to objects") {
            _ = try train(options, ofClasses)
        }
        refused("task segment needs masks of classes") { _ = try train(self.options([("task", "segment")]), scenes()) }
        refused("set task to instances") { _ = try train(self.options([("task", "classify")]), scenes()) }
        refused("cells that learn a mask, positive_cells is 1") { _ = try train(self.options([("positive_cells", "1")]), scenes()) }
        refused("consistency 1.0 needs a foreground") {
            _ = try train(self.options([("consistency", "1"), ("foreground", "false")]), scenes())
        }
        refused("mixes no images") { _ = try train(self.options([("mixup", "1")]), scenes()) }
        let model = try train(options, scenes())
        refused("evaluation needs masks of objects") { _ = try Inference(model, options).evaluateInstances(ofClasses) }
        refused("the model's head is instances") {
            _ = try Inference(model, options).evaluate(Datasets.synthetic(count: 16, seed: 1, options))
        }
        refused("its head is instances: fine-tune it with task segment first") { _ = try Inference(model, options).evaluateMaps(ofClasses) }
        let run = try TrainingRun(
            Model(encoder: options.encoder(), seed: 5), scenes(), options, .finetune, validation: Validation(heldOut: scenes(4, first: 16)))
        while try run.step() == .stepped {}
        #expect(run.progress.measures["ap50"] != nil && run.progress.measures["recall"] != nil && run.progress.measures["best"] != nil)
    }
}

extension Fixture {
    fileprivate func model(_ objective: InstanceSegmentation) throws -> Model {
        try Model(encoder: objective.encoder, head: objective.head, seed: 1)
    }
}
