import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// Residual networks against torchvision (see Tests/fixtures/resnet/README.md), and their way through training and files.
@Suite struct ResidualNetworkTests {
    static let residualCases = ["resnet18_cifar_9x11", "resnet18_imagenet_40x33", "resnet34_cifar_gray_8x8", "resnet50_imagenet_64x64"]
    static let cases = residualCases + ["convnext_cifar_9x11", "convnext_imagenet_64x70"]

    func fixture(_ name: String) throws -> Fixture { try Fixture(name, in: name.hasPrefix("convnext") ? "convnext" : "resnet") }

    func size(_ name: String) throws -> ResidualNetwork.Size {
        try #require(ResidualNetwork.sizes.first { $0.name == name })
    }

    func model(_ fixture: Fixture) throws -> Model {
        let encoder = try fixture.convolutionalEncoder()
        let model = try Model(encoder: encoder, head: ClassifierHead(classes: fixture.integer("classes"), pooling: .mean), seed: 1)
        #expect(Set(fixture.keys("weights/")) == Set(model.parameters.tensors.keys))
        for key in fixture.keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            _ = tensor.float32.update(fromContentsOf: try fixture.values("weights/" + key))
        }
        return model
    }

    func fill(_ program: any Program, _ fixture: Fixture) throws {
        #expect(try program.write(reals: fixture.values("images"), to: Inputs.imagesName))
        try program.write(fixture.values("labels").map { Int32($0) }, to: Inputs.labelsName)
    }

    func check(_ name: String, precision: Precision, tolerance: Double) throws {
        let fixture = try fixture(name)
        let model = try model(fixture)
        let batch = try fixture.integer("batch")
        let compute = try Compute(precision: precision)

        let inference = Graph()
        let builder = model.builder(inference)
        let scores = try Classification(model).logits(builder, batch: batch)
        let images = Inputs.images(inference, model.encoder.geometry, batch: batch)
        let stage = try model.encoder.features(images, layer: 2, pooling: model.head?.featurePooling, builder)
        let shape = model.encoder.featureShape(layer: 2)
        #expect(inference.shape(of: stage) == [batch, shape.tokens, shape.width])
        let weights = try model.parameters.copies(precision: precision)
        let evaluation = try CPUProgram(inference, outputs: [scores, stage], state: weights, compute: compute)
        try fill(evaluation, fixture)
        try evaluation.run()
        #expect(try deviation(evaluation.reals(scores), fixture.values("expected/eval_logits")) <= tolerance)
        #expect(try deviation(evaluation.reals(stage), fixture.values("expected/stage2")) <= tolerance)

        let graph = Graph()
        let objective = try Classification(model, smoothing: fixture.number("label_smoothing"))
        let (loss, logits) = try objective.loss(model.builder(graph, training: true), batch: batch)
        let trained = model.parameters.specifications.filter { $0.isTrainable }
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let program = try CPUProgram(
            graph, outputs: [loss, logits] + values.compactMap { gradients[$0] }, state: weights, compute: compute)
        try fill(program, fixture)
        try program.run()
        let expectedLoss = try fixture.number("loss")
        #expect(try abs(program.scalar(loss) - expectedLoss) <= tolerance * expectedLoss, "loss")
        #expect(try deviation(program.reals(logits), fixture.values("expected/logits")) <= tolerance, "logits")
        for (specification, value) in zip(trained, values) {
            let gradient = try #require(gradients[value], "gradient of \(specification.name)")
            let expected = try fixture.values("gradients/" + specification.name)
            let error = try deviation(program.reals(gradient), expected)
            #expect(error <= tolerance, "gradient of \(specification.name): \(error)")
        }
        #expect(Set(trained.map(\.name)) == Set(fixture.keys("gradients/")))
    }

    @Test(arguments: cases) func float32(_ name: String) throws { try check(name, precision: .float32, tolerance: 1e-4) }

    /// In float64 our definition and theirs are the same to the rounding of the stored expectation.
    @Test(arguments: cases) func float64(_ name: String) throws { try check(name, precision: .float64, tolerance: 2e-7) }

    @Test(arguments: residualCases) func fiveSteps(_ name: String) throws {
        let fixture = try fixture(name)
        let model = try model(fixture)
        let graph = Graph()
        let batch = try fixture.integer("batch")
        let objective = try Classification(model, smoothing: fixture.number("label_smoothing"))
        let loss = try objective.loss(model.builder(graph, training: true), batch: batch).loss
        var settings = Optimizer.Settings()
        settings.beta1 = try fixture.number("beta1")
        settings.beta2 = try fixture.number("beta2")
        settings.epsilon = try fixture.number("eps")
        settings.weightDecay = try fixture.number("weight_decay")
        let optimizer = try Optimizer(graph, loss: loss, model: model, settings: settings)
        let bound = model.parameters.tensors.merging(optimizer.moments) { first, _ in first }
        let program = try CPUProgram(graph, outputs: [loss], state: bound, compute: Compute())
        try fill(program, fixture)
        try program.write(fixture.number("lr"), to: .learningRate)
        try program.write(1, to: .decayScale)
        for (index, expected) in try fixture.numbers("losses").enumerated() {
            try program.write(Double(index + 1), to: .step)
            try program.run()
            #expect(try abs(program.scalar(loss) - expected) <= 1e-4 * expected, "loss of step \(index)")
        }
        #expect(fixture.keys("final/").contains("layer4.1.bn2.running_var"))
        for key in fixture.keys("final/") {
            let tensor = try #require(model.parameters[key])
            let error = deviation((0..<tensor.count).map { tensor[$0] }, try fixture.values("final/" + key))
            #expect(error <= 1e-4, "\(key) after five steps: \(error)")
        }
    }

    /// Names and shapes are those of torchvision's own networks, so that `load_state_dict` takes our files.
    @Test(arguments: ["resnet18", "resnet34", "resnet50", "resnet101"]) func names(_ name: String) throws {
        let text = try #require(fixture("torchvision").file.metadata[name])
        let members = try #require(JSON.parse(text).members)
        let expected = Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value.array?.compactMap(\.integer) ?? []) })
        let encoder = try ResidualNetwork(size(name), stem: .imagenet, channels: 3, height: 224, width: 224)
        let head = try encoder.classifierParameters(ClassifierHead(classes: 1000, pooling: .mean))
        let ours = Dictionary(uniqueKeysWithValues: (encoder.parameters() + head).map { ($0.name, $0.storedShape) })
        #expect(ours == expected)
    }

    /// Those of ConvNeXt are timm's.
    @Test(arguments: ConvNeXt.sizes.map(\.name)) func namesOfConvNeXt(_ name: String) throws {
        let text = try #require(Fixture("timm", in: "convnext").file.metadata[name])
        let members = try #require(JSON.parse(text).members)
        let expected = Dictionary(uniqueKeysWithValues: members.map { ($0.key, $0.value.array?.compactMap(\.integer) ?? []) })
        let size = try #require(ConvNeXt.sizes.first { $0.name == name })
        let encoder = try ConvNeXt(size, stem: .imagenet, channels: 3, height: 224, width: 224)
        let head = try encoder.classifierParameters(ClassifierHead(classes: 1000, pooling: .mean))
        let ours = Dictionary(uniqueKeysWithValues: (encoder.parameters() + head).map { ($0.name, $0.storedShape) })
        #expect(ours == expected)
    }

    @Test func layersAndLimits() throws {
        let encoder = try ResidualNetwork(size("resnet50"), stem: .imagenet, channels: 3, height: 224, width: 224)
        #expect(encoder.featureWidth == 2048)
        #expect(encoder.featureShape(layer: nil) == (49, 2048))
        #expect(encoder.featureShape(layer: 1) == (3136, 256))
        #expect(["conv1.weight", "layer1.0.bn1.bias", "layer4.2.conv3.weight", "fc.bias"].map(encoder.layer(of:)) == [0, 1, 4, 5])
        let width = #expect(throws: MRPError.self) {
            try ResidualNetwork(size("resnet18"), stem: .cifar, baseWidth: 0, channels: 3, height: 32, width: 32)
        }
        #expect(width?.message == "encoder width 0 is outside 1 ... 4096")
        let token = #expect(throws: MRPError.self) { try Model(encoder: encoder, head: ClassifierHead(classes: 2, pooling: .cls), seed: 0) }
        #expect(token?.message == "pooling cls needs a class token, resnet50 has none: use mean")
    }

    func options(_ changes: [String: String] = [:]) throws -> Options {
        var options = Options()
        let small = [
            "encoder": "resnet18", "width": "4", "image_size": "16", "batch_size": "20", "epochs": "3", "threads": "2", "seed": "3",
            "synthetic_classes": "2",
        ]
        for (key, value) in small.merging(changes, uniquingKeysWith: { $1 }) { try options.set(key, value) }
        return options
    }

    /// From an option value to a trained classifier, through a file, and back: the same scores, and running statistics that moved.
    @Test func trainingAndFiles() throws {
        let options = try options()
        let data = try Datasets.synthetic(count: 60, seed: 3, options)
        let model = try Model(encoder: options.encoder(), seed: 3)
        let trainer = try Trainer(model, data, options, .finetune)
        var losses: [Double] = []
        while try trainer.step() == .stepped { losses.append(trainer.progress.loss) }
        #expect(losses.count == 9)
        #expect(try #require(losses.last) < losses[0])
        let variance = try #require(model.parameters["layer4.1.bn2.running_var"])
        #expect(variance.float32.contains { $0 != 1 })

        var before = [Float](repeating: 0, count: 120)
        #expect(try before.withUnsafeMutableBufferPointer { try Inference(model, options).predict(data, into: $0) })
        let folder = try TemporaryFolder()
        let path = folder.file("resnet.safetensors")
        try ModelFile.save(model, to: path)
        let file = try SafetensorsFile(path: path)
        #expect(file.entries["layer3.0.downsample.1.running_mean"]?.shape == [16])
        #expect(file.entries["conv1.weight"]?.shape == [4, 3, 3, 3])
        let loaded = try ModelFile.load(path)
        var after = [Float](repeating: 1, count: 120)
        #expect(try after.withUnsafeMutableBufferPointer { try Inference(loaded, options).predict(data, into: $0) })
        #expect(before == after)
        #expect(
            try model.copy().parameters["fc.weight"].map { Array($0.float32) } == model.parameters["fc.weight"].map { Array($0.float32) })
    }

    /// A probe of a frozen encoder, whose norms have no gradient: only the head learns.
    @Test func frozenEncoder() throws {
        let options = try options(["frozen_encoder": "true", "epochs": "1"])
        let data = try Datasets.synthetic(count: 60, seed: 3, options)
        let model = try Model(encoder: options.encoder(), seed: 3)
        let trainer = try Trainer(model, data, options, .finetune)
        let before = try model.copy()
        while try trainer.step() == .stepped { #expect(trainer.progress.loss.isFinite) }
        #expect(trainer.progress.step == 3)
        for (name, tensor) in before.parameters.tensors {
            let after = try #require(model.parameters[name])
            #expect(after.float32.elementsEqual(tensor.float32) == !name.hasPrefix("fc."), "\(name)")
        }
    }

    /// torchvision's names in every spelling, a file of torch's with its counters, and what a file cannot be asked for.
    @Test func spellingsAndWishes() throws {
        let model = try Model(encoder: options().encoder(), head: ClassifierHead(classes: 2, pooling: .mean), seed: 3)
        for (name, value) in [("bn1.running_mean", Float(0.25)), ("layer4.1.bn2.running_var", 1.5)] {
            try #require(model.parameters[name]).float32.update(repeating: value)
        }
        let folder = try TemporaryFolder()
        let path = folder.file("model.safetensors")
        for names in WeightNames.allCases {
            var wish = Options()
            try wish.set("names", names.rawValue)
            try ModelFile.save(model, to: path, wish)
            let stored = try SafetensorsFile(path: path).entries.keys
            #expect(Set(stored.filter { !$0.hasSuffix(".num_batches_tracked") }) == Set(model.parameters.tensors.keys))
            #expect(stored.count { $0.hasSuffix(".num_batches_tracked") } == stored.count { $0.hasSuffix(".running_var") })
            for read in try [ModelFile.load(path), model.copy()] {
                for (name, tensor) in model.parameters.tensors {
                    #expect(try #require(read.parameters[name]).float32.elementsEqual(tensor.float32), "\(name), \(names)")
                }
            }
        }

        var tensors = model.parameters.specifications.map { specification in
            let tensor = model.parameters[specification.name]
            return Safetensors.Tensor(
                specification.name, specification.storedShape, UnsafeRawBufferPointer(start: tensor?.memory, count: tensor?.bytes ?? 0))
        }
        // Their type here is F32; the reader must not look.
        let counter = try Tensor([1])
        for name in ["bn1", "layer1.0.bn2", "layer2.0.downsample.1"] {
            tensors.append(
                Safetensors.Tensor(name + ".num_batches_tracked", [], UnsafeRawBufferPointer(start: counter.memory, count: 4)))
        }
        let torch = folder.file("torch.safetensors")
        try Safetensors.write(tensors, metadata: [], to: torch)
        let reread = try #require(ModelFile.load(torch).parameters["fc.weight"]), own = try #require(model.parameters["fc.weight"])
        withExtendedLifetime((reread, own)) { #expect(reread.float32.elementsEqual(own.float32)) }

        func load(_ changes: [String: String]) throws -> Model {
            var wish = Options()
            for (key, value) in changes { try wish.set(key, value) }
            return try ModelFile.load(path, wish)
        }
        let larger = try load(["image_size": "20", "channels": "1", "channel_weights": "average"])
        #expect(larger.encoder.geometry.imageShape == [1, 20, 20])
        #expect(larger.parameters["conv1.weight"]?.shape == [4, 1, 3, 3])
        #expect(larger.notes.count == 2)
        let fresh = try load(["classifier": "new", "classes": "5"])
        #expect(fresh.parameters["fc.weight"]?.shape == [5, 32])
        #expect(try load(["classifier": "new"]).headNames.isEmpty)
        for (key, value) in [("positions", "recompute"), ("patch_weights", "resample"), ("patch_size", "4")] {
            let error = #expect(throws: MRPError.self) { try load([key: value]) }
            #expect(error?.code == .unsupported)
            let wish = key == "patch_size" ? "another patch_size" : "option \(key)=\(value)"
            #expect(
                error?.message == "'\(path)': \(wish) needs a vision transformer, the file holds a convolutional network (resnet18)")
        }
        let bare = try TemporaryFolder()
        let lonely = bare.file("torch.safetensors")
        try Safetensors.write(tensors, metadata: [], to: lonely)
        #expect(try ModelFile.load(lonely).notes.contains { $0.hasPrefix("images of 32 x 32 are assumed") })
        #expect(try ModelFile.load(lonely).notes.contains { $0.contains("no blur") })
    }

    @Test func featuresOfStages() throws {
        let data = try Datasets.synthetic(count: 3, seed: 3, options())
        let model = try Model(encoder: options().encoder(), seed: 3)
        for (layer, features, count) in [("0", "mean", 32), ("1", "mean", 4), ("2", "tokens", 8 * 8 * 8), ("4", "tokens", 2 * 2 * 32)] {
            let inference = Inference(model, try options(["layer": layer, "features": features]))
            #expect(try inference.featureCount() == count)
            var output = [Float](repeating: .nan, count: 3 * count)
            #expect(try output.withUnsafeMutableBufferPointer { try inference.encode(data, into: $0) })
            #expect(output.allSatisfy { $0.isFinite } && output.contains { $0 != 0 })
        }
        let token = #expect(throws: MRPError.self) { try Inference(model, options(["features": "cls"])).featureCount() }
        #expect(token?.message == "features cls: the encoder has no class token")
    }
}
