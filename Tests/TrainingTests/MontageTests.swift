import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import Synchronization
import TestSupport
import Testing

/// Montage pretraining against PyTorch (tools/fixtures/make_montage_fixtures.py); layout, runs, files, what segmentation takes of it.
@Suite struct MontageTests {
    static let names = ["shared", "per_level", "plain"]

    private static func fixture(_ name: String) throws -> (fixture: Fixture, model: Model, objective: Montage) {
        let fixture = try Fixture("montage_" + name, in: "dense")
        var form = Montage.Form()
        (form.levels, form.sides) = (try fixture.integer("levels"), try fixture.integer("sides"))
        form.temperature = try fixture.number("temperature")
        form.predictors = try fixture.flag("shared") ? .shared : .perLevel
        let head = try MontageHead(
            pyramid: FeaturePyramid(width: fixture.integer("pyramid")), convolutions: fixture.integer("convolutions"),
            hidden: fixture.integer("hidden"), width: fixture.integer("embedding"))
        let objective = try Montage(fixture.convolutionalEncoder(), head, form, decay: Teacher.Decay(0.99, 1))
        let model = try Model(encoder: objective.encoder, objective: objective, seed: 1)
        #expect(Set(fixture.keys("weights/")) == Set(model.parameters.tensors.keys))
        for key in fixture.keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            _ = tensor.float32.update(fromContentsOf: try fixture.values("weights/" + key))
        }
        return (fixture, model, objective)
    }

    private static func fill(_ program: any Program, _ fixture: Fixture, _ form: Montage.Form) throws {
        #expect(try program.write(reals: fixture.values("images"), to: Inputs.imagesName))
        for level in 1..<form.levels {
            #expect(try program.write(fixture.values("tiles.\(level)").map { Int32($0) }, to: "montage_tiles.\(level)"))
            for side in 0..<form.sides {
                let labels = try fixture.values("labels.\(level).\(side)").map { Int32($0) }
                #expect(try program.write(labels, to: "montage_labels.\(level).\(side)"))
            }
        }
    }

    @Test(arguments: names, [Precision.float64, .float32]) func lossesAndGradientsAreTorchs(_ name: String, _ precision: Precision) throws {
        let (fixture, model, objective) = try Self.fixture(name)
        let tolerance = precision == .float64 ? 1e-6 : 2e-4
        let graph = Graph()
        let losses = try objective.losses(model.builder(graph, training: true), batch: fixture.integer("batch"))
        let total = try Loss.total(losses, in: graph)
        let trained = model.parameters.specifications.filter { $0.isTrainable && graph.boundValue($0.name) != nil }
        #expect(Set(trained.map(\.name)) == Set(fixture.keys("gradients/")))
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: total, withRespectTo: values)
        let tops = try (0..<objective.form.levels).map { try #require(graph.marks["report/top1_level_\($0)"]) }
        let program = try CPUProgram(
            graph, outputs: [total] + losses.map(\.value) + tops + values.compactMap { gradients[$0] },
            state: model.parameters.copies(precision: precision), compute: Compute(precision: precision))
        try Self.fill(program, fixture, objective.form)
        try program.run()
        #expect(try abs(program.scalar(total) - fixture.number("loss")) <= tolerance)
        for (level, (expected, top)) in try zip(fixture.numbers("losses"), fixture.numbers("top1")).enumerated() {
            #expect(try abs(program.scalar(losses[level].value) - expected) <= tolerance, "level \(level)")
            #expect(try abs(program.scalar(tops[level]) - top) < 1e-6, "level \(level)")
        }
        // Batch norms of a few values make some gradients tiny: they count by the largest.
        let scale = try trained.map { try fixture.values("gradients/" + $0.name).reduce(0) { max($0, abs(Double($1))) } }.max() ?? 1
        for (specification, value) in zip(trained, values) {
            let found = try program.reals(#require(gradients[value], "gradient of \(specification.name)"))
            let expected = try fixture.values("gradients/" + specification.name)
            try #require(found.count == expected.count)
            let error = zip(found, expected).reduce(0) { max($0, abs($1.0 - Double($1.1))) } / scale
            #expect(error <= 2 * tolerance, "gradient of \(specification.name): \(error)")
        }
    }

    @Test(arguments: ["shared", "per_level"]) func theLayoutIsTorchs(_ name: String) throws {
        let (fixture, _, objective) = try Self.fixture(name)
        let (batch, form) = (try fixture.integer("batch"), objective.form)
        for level in 1..<form.levels {
            let graph = Graph()
            let images = Inputs.images(graph, objective.encoder.geometry, batch: batch * objective.views.count)
            let tiles = graph.input("tiles", TensorType([form.sides * batch], .int32))
            let montage = try graph.apply(MontageImages(grid: 1 << level), [images, tiles])[0]
            let program = try CPUProgram(graph, outputs: [montage], state: [:], compute: Compute())
            try program.write(reals: fixture.values("images"), to: Inputs.imagesName)
            try program.write(fixture.values("tiles.\(level)").map { Int32($0) }, to: "tiles")
            try program.run()
            #expect(try deviation(program.reals(montage), fixture.values("montages.\(level)")) <= 1e-6)
        }
    }

    /// Encoder, the coarsest map of the pyramid and the head follow as a moving average.
    @Test(arguments: names) func theTeacherFollows(_ name: String) throws {
        let (fixture, model, objective) = try Self.fixture(name)
        let graph = Graph()
        let loss = try objective.loss(model.builder(graph, training: true), batch: fixture.integer("batch"))
        var settings = Optimizer.Settings()
        (settings.method, settings.momentum, settings.weightDecay) = (.sgd, 0, 0)
        let optimizer = try Optimizer(graph, loss: loss, model: model, objective: objective, settings: settings)
        let program = try CPUProgram(
            graph, outputs: [loss], state: model.parameters.tensors.merging(optimizer.moments) { first, _ in first }, compute: Compute())
        try Self.fill(program, fixture, objective.form)
        try program.write(0.1, to: .learningRate)
        try program.write(objective.emaDecay(fraction: 0.3), to: .teacherDecay)
        try program.run()
        for key in fixture.keys("averaged/") {
            let tensor = try #require(model.parameters[key])
            #expect(deviation((0..<tensor.count).map { tensor[$0] }, try fixture.values("averaged/" + key)) <= 1e-5, "\(key)")
        }
        #expect(fixture.keys("averaged/").count > 8)
        #expect(objective.emaDecay(fraction: 0) == 0.99 && objective.emaDecay(fraction: 1) == 1)
    }

    // MARK: Layout

    static let small = [
        ("objective", "montage"), ("encoder", "resnet18"), ("width", "4"), ("image_size", "32"), ("pyramid_width", "6"),
        ("projection_width", "8"), ("projection_hidden", "8"), ("batch_size", "8"), ("epochs", "2"), ("learning_rate", "0.01"),
        ("warmup_epochs", "0"), ("seed", "5"), ("threads", "1"), ("montage_sides", "1"),
    ]

    private func options(_ changes: [(String, String)] = []) throws -> Options {
        var options = Options()
        for (key, value) in Self.small + changes { try options.set(key, value) }
        return options
    }

    /// The tiles of a step, by the objective's own drawing: rows of the batch of views, labels of each side.
    private func drawn(_ changes: [(String, String)], _ slice: BatchSlice, step: Int = 3) throws -> [Int: (
        rows: [Int32], labels: [[Int32]]
    )] {
        let options = try options(changes)
        let model = try Model(encoder: options.encoder(), seed: 1)
        let objective = try #require(try Objectives.make(options, for: model) as? Montage)
        try model.attach(objective, seed: 1)
        let graph = Graph()
        let loss = try objective.loss(model.builder(graph, training: true), batch: slice.count)
        let program = try CPUProgram(graph, outputs: [loss], state: model.parameters.tensors, compute: Compute())
        let indices = [Int64](repeating: 0, count: slice.count)
        let isPrepared = try indices.withUnsafeBufferPointer {
            try objective.prepare(TrainingStep(slice, seed: 4, step: step, indices: $0), program)
        }
        #expect(isPrepared)
        func ids(_ name: String) throws -> [Int32] {
            let found = try program.withInput(name, as: Int32.self) { Array($0) }
            return try #require(found)
        }
        var found: [Int: (rows: [Int32], labels: [[Int32]])] = [:]
        for level in 1..<objective.form.levels {
            let labels = try (0..<objective.form.sides).map { try ids("montage_labels.\(level).\($0)") }
            found[level] = (try ids("montage_tiles.\(level)"), labels)
        }
        return found
    }

    @Test func eachImageIsInEachLevel() throws {
        let found = try drawn([("montage_levels", "4"), ("montage_sides", "2"), ("batch_size", "64")], BatchSlice(whole: 64))
        #expect(found.count == 3)
        var orders = Set<[Int32]>()
        for (level, tiles) in found {
            let copies = level == 3 ? 2 : 1
            for (side, labels) in tiles.labels.enumerated() {
                #expect(labels.sorted() == (0..<64).flatMap { [Int32](repeating: $0, count: copies) })
                let view = Int32(2 + 2 * (level - 1) + side)
                #expect(Array(tiles.rows[(side * labels.count)...].prefix(labels.count)) == labels.map { 64 * view + $0 })
                orders.insert(Array(labels.prefix(64)))
            }
        }
        #expect(orders.count == 6)
        let next = try drawn([("montage_levels", "2"), ("batch_size", "64")], BatchSlice(whole: 64), step: 4)
        #expect(next[1]?.labels[0] != found[1]?.labels[0])
    }

    /// A part of a batch has montages of its own images, whose order the places in the whole batch decide.
    @Test func partsHaveTheirOwnMontages() throws {
        let part = try #require(try drawn([], BatchSlice(first: 8, count: 8, total: 16))[1])
        #expect(part.labels[0].sorted() == Array(0..<8))
        let whole = try #require(try drawn([("batch_size", "16")], BatchSlice(whole: 16))[1])
        #expect(whole.labels[0].filter { $0 >= 8 }.map { $0 - 8 } == part.labels[0])
    }

    @Test func shuffledLabelsAreOthers() throws {
        let tiles = try #require(try drawn([("montage_labels", "shuffled"), ("batch_size", "64")], BatchSlice(whole: 64))[1])
        #expect(tiles.labels[0].sorted() == Array(0..<64))
        #expect(zip(tiles.rows, tiles.labels[0]).count { $0 == 64 * 2 + $1 } < 8)
    }

    // MARK: Runs and files

    private func images(_ count: Int = 24, size: Int = 32) throws -> ImageDataset {
        var options = Options()
        try options.set("image_size", "\(size)")
        return try Datasets.synthetic(count: count, seed: 3, options)
    }

    private func train(_ options: Options, _ model: Model? = nil) throws -> Trainer {
        let trainer = try Trainer(model ?? Model(encoder: options.encoder(), seed: options.seed), images(), options, .pretrain)
        while try trainer.step() == .stepped {}
        return trainer
    }

    /// The same bytes for any number of threads and after a resumed run; parts of a batch make another one.
    @Test(arguments: [
        [], [("encoder", "convnextv2_atto"), ("montage_sides", "2"), ("montage_predictor", "per_level"), ("drop_path", "0.1")],
    ])
    func runsAreReproducible(_ changes: [(String, String)]) throws {
        let folder = try TemporaryFolder()
        var files: [[UInt8]] = []
        for threads in ["1", "3"] {
            let trainer = try train(options(changes + [("threads", threads), ("loader_threads", threads)]))
            try ModelFile.save(trainer.model, to: folder.file("model.safetensors"))
            files.append(try bytes(folder.file("model.safetensors")))
            if threads == "1" {
                for name in ["loss_level_0", "loss_level_1", "top1_level_0", "top1_level_1", "feature_std", "feature_rank"] {
                    #expect(try #require(trainer.progress.value(name)).isFinite, "\(name)")
                }
            }
        }
        #expect(files[0] == files[1])
        let options = try options(changes)
        let first = try Trainer(Model(encoder: options.encoder(), seed: 5), images(), options, .pretrain)
        for _ in 0..<4 { _ = try first.step() }
        try first.save(to: folder.file("run.ckpt"))
        let model = try Model(encoder: options.encoder(), seed: 9)
        let second = try Trainer(model, images(), options, .pretrain)
        try second.resume(from: folder.file("run.ckpt"))
        while try second.step() == .stepped {}
        try ModelFile.save(model, to: folder.file("resumed.safetensors"))
        #expect(try bytes(folder.file("resumed.safetensors")) == files[0])
        guard changes.isEmpty else { return }
        let parts = try train(self.options([("accumulation_steps", "2"), ("batch_size", "4")]))
        #expect(parts.progress.steps == 6 && parts.progress.loss.isFinite)
        let plain = try train(self.options([("montage_levels", "1"), ("batch_size", "6")]))
        #expect(try #require(plain.progress.value("loss_level_0")).isFinite && plain.progress.value("loss_level_1") == nil)
    }

    /// Files keep what is of use without the run; segmentation begins with encoder and pyramid, and says so.
    @Test func segmentationTakesThePyramid() throws {
        let folder = try TemporaryFolder()
        let model = try train(options()).model
        try ModelFile.save(model, to: folder.file("montage.safetensors"))
        let read = try ModelFile.load(folder.file("montage.safetensors"))
        let names = Set(read.parameters.tensors.keys)
        #expect(names == Set(model.parameters.tensors.keys.filter { !$0.hasPrefix("teacher.") }))
        #expect(names.isSuperset(of: ["fpn.lateral.0.weight", "montage_head.fc2_norm.running_var", "montage_predictor.0.fc2.bias"]))
        #expect(read.objective?.pyramid?.width == 6)

        // A run that goes on has a fresh teacher: the networks as they are.
        let again = try Trainer(read.copy(), images(), options(), .pretrain)
        for name in ["conv1.weight", "fpn.lateral.3.weight", "montage_head.fc1.weight"] {
            let own = try #require(again.model.parameters[name])
            for other in [again.model.parameters["teacher." + name], read.parameters[name]] {
                #expect(own.float32.elementsEqual(try #require(other).float32), "\(name)")
            }
        }

        let lines = Mutex<[String]>([])
        Log.tell({ _, text in lines.withLock { $0.append(String(cString: text)) } }, upTo: .info)
        defer { Log.tell(nil, upTo: .info) }
        var segmenting = Options()
        for (key, value) in [("task", "segment"), ("epochs", "1"), ("batch_size", "8"), ("threads", "1")] { try segmenting.set(key, value) }
        let scenes = try SceneDataset(count: 16, size: ImageSize(height: 32, width: 32), seed: 2)
        let trainer = try Trainer(read, scenes, segmenting, .finetune)
        for name in read.parameters.tensors.keys where name.hasPrefix("fpn.") || name.hasPrefix("layer") {
            let before = try #require(model.parameters[name])
            #expect(try #require(read.parameters[name]).float32.elementsEqual(before.float32), "\(name)")
        }
        #expect(!read.parameters.tensors.keys.contains { $0.hasPrefix("montage_") } && read.objective == nil)
        #expect(
            lines.withLock { $0 }.contains { $0.contains("begins with encoder and feature pyramid") && $0.contains("by montage") })
        while try trainer.step() == .stepped {}
        try ModelFile.save(read, to: folder.file("segmenter.safetensors"))
        #expect(try ModelFile.load(folder.file("segmenter.safetensors")).head?.isDense == true)

        // The other way: montage goes on with the pyramid of a segmenter.
        let pyramid = try read.parameters.copies(precision: .float32)
        _ = try Trainer(read, images(), options(), .pretrain)
        #expect(read.head?.isDense == true)
        #expect(
            try #require(read.parameters["fpn.output.2.weight"]).float32.elementsEqual(try #require(pyramid["fpn.output.2.weight"]).float32)
        )
        _ = try Trainer(read, images(), options([("pyramid_width", "4")]), .pretrain)
        #expect(read.head == nil && lines.withLock { $0 }.contains { $0.contains("is left out: its feature pyramid has another width") })
    }

    @Test func wrongRunsAreRefused() throws {
        func refused(_ part: String, _ changes: [(String, String)]) {
            let error = #expect(throws: MRPError.self) { _ = try train(options(changes)) }
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
        refused("a vision transformer takes ijepa", [("encoder", "vit_mini"), ("patch_size", "8"), ("width", "16"), ("heads", "2")])
        refused("a multiple of 4^(montage_levels - 1) = 4, 6 is none", [("batch_size", "6")])
        refused("a multiple of 4^(montage_levels - 1) = 16, 8 is none", [("montage_levels", "3")])
        refused("montage_levels 2 is outside 1 ... 1, which images of 28 x 28", [("montage_levels", "2"), ("image_size", "28")])
        refused("blur has 3 numbers", [("blur", "1,0.5,0")])
        refused("solarize 2.0 is outside [0, 1]", [("solarize", "2")])
    }
}
