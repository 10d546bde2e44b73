import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import Testing

/// Loss, predictions, gradients and ten AdamW steps against PyTorch's (see Tests/fixtures/mae/README.md).
@Suite struct ParityTests {
    static let autoencoders = [
        "mae_four_channels_12x12", "mae_gray_16x16", "mae_gray_4x28", "mae_rgb_16x24", "mae_rgb_8x8_raw",
        "mae_wide_decoder_8x12",
    ]
    static let classifiers = ["classifier_cls_gray_8x12", "classifier_mean_four_channels_12x6", "classifier_mean_rgb_16x16"]

    /// Fills images, masks and labels of a case.
    func fill(_ program: any Program, _ fixture: Fixture) throws {
        #expect(try program.write(reals: fixture.values("images"), to: Inputs.imagesName))
        if fixture.isClassifier {
            #expect(try program.write(fixture.values("labels").map { Int32($0) }, to: Inputs.labelsName))
        } else {
            try mask(fixture).fill(program)
        }
    }

    func mask(_ fixture: Fixture) throws -> PatchMask {
        let count = try fixture.integer("patches")
        let visible = try PatchMask.visibleCount(patches: count, ratio: fixture.number("mask_ratio"))
        #expect(try visible == fixture.integer("len_keep"))
        return try fixture.values("noise").withUnsafeBufferPointer {
            try PatchMask(noise: $0, batch: try fixture.integer("batch"), count: count, visibleCount: visible)
        }
    }

    func check(_ name: String, precision: Precision, reference: Bool = false, tolerance: Double) throws {
        let fixture = try Fixture(name)
        let model = try fixture.model()
        let batch = try fixture.integer("batch")
        let graph = Graph()
        let builder = model.builder(graph)
        let loss: Value
        let output: (value: Value, expected: String)
        if fixture.isClassifier {
            let result = try Classification(model, smoothing: fixture.number("label_smoothing")).loss(builder, batch: batch)
            loss = result.loss
            output = (result.logits, "expected/logits")
        } else {
            let objective = try #require(model.objective as? MaskedAutoencoder)
            loss = try objective.loss(builder, batch: batch)
            output = (try objective.prediction(builder, batch: batch), "expected/pred")
        }
        let trained = model.parameters.specifications.filter { $0.isTrainable && graph.boundValue($0.name) != nil }
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let program = try CPUProgram(
            graph, outputs: [loss, output.value] + values.compactMap { gradients[$0] },
            state: model.parameters.copies(precision: precision), compute: Compute(precision: precision, reference: reference))
        try fill(program, fixture)
        try program.run()

        let expectedLoss = try fixture.number("loss")
        #expect(try abs(program.scalar(loss) - expectedLoss) <= tolerance * expectedLoss, "loss")
        let prediction = try program.reals(output.value)
        #expect(deviation(prediction, try fixture.values(output.expected)) <= tolerance, "prediction")
        for (specification, value) in zip(trained, values) {
            let gradient = try #require(gradients[value], "gradient of \(specification.name)")
            let actual = try program.reals(gradient)
            let expected = try fixture.values("gradients/" + specification.name)
            #expect(deviation(actual, expected) <= tolerance, "gradient of \(specification.name)")
        }
        #expect(Set(trained.map(\.name)) == Set(fixture.keys("gradients/")))
    }

    @Test(arguments: autoencoders + classifiers) func float32(_ name: String) throws {
        try check(name, precision: .float32, tolerance: 1e-5)
    }

    /// In float64 our definition and theirs are the same to the rounding of the stored expectation.
    @Test(arguments: autoencoders + classifiers) func float64(_ name: String) throws {
        try check(name, precision: .float64, tolerance: 2e-7)
    }

    @Test(arguments: autoencoders + classifiers) func tenSteps(_ name: String) throws {
        let fixture = try Fixture(name)
        let model = try fixture.model()
        let graph = Graph()
        let batch = try fixture.integer("batch")
        let loss: Value
        if fixture.isClassifier {
            loss = try Classification(model, smoothing: fixture.number("label_smoothing")).loss(model.builder(graph), batch: batch).loss
        } else {
            loss = try #require(model.objective).loss(model.builder(graph), batch: batch)
        }
        var settings = Optimizer.Settings()
        settings.beta1 = try fixture.number("beta1")
        settings.beta2 = try fixture.number("beta2")
        settings.epsilon = try fixture.number("eps")
        settings.weightDecay = try fixture.number("weight_decay")
        settings.layerDecay = fixture.isClassifier ? try fixture.number("layer_decay") : 1
        settings.decaysTokens = !fixture.isClassifier
        let optimizer = try Optimizer(graph, loss: loss, model: model, settings: settings)
        let bound = model.parameters.tensors.merging(optimizer.moments) { first, _ in first }
        let program = try CPUProgram(graph, outputs: [loss], state: bound, compute: Compute())
        try fill(program, fixture)
        try program.write(fixture.number("lr"), to: .learningRate)
        try program.write(1, to: .decayScale)
        let expected = try fixture.numbers("losses")
        for (index, value) in expected.enumerated() {
            try program.write(Double(index + 1), to: .step)
            try program.run()
            #expect(try abs(program.scalar(loss) - value) <= 1e-4 * value, "loss of step \(index)")
            guard index == expected.count - 2 else { continue }
            for key in fixture.keys("final/") {
                let tensor = try #require(model.parameters[key])
                let actual = (0..<tensor.count).map { tensor[$0] }
                #expect(deviation(actual, try fixture.values("final/" + key)) <= 1e-4, "\(key) after ten steps")
            }
        }
    }

    @Test func positionTables() throws {
        let fixture = try Fixture("sincos")
        for (height, width) in [(2, 3), (4, 4)] {
            for columns in [8, 16] {
                let expected = try fixture.values("grid_\(height)x\(width)/width_\(columns)")
                var table = [Float](repeating: 1, count: expected.count)
                table.withUnsafeMutableBufferPointer {
                    sinCosPositions(into: $0, width: columns, gridHeight: height, gridWidth: width)
                }
                #expect(table == expected)
            }
        }
    }

    @Test(arguments: ["warmup", "minimum", "no_warmup"]) func schedule(_ name: String) throws {
        let fixture = try Fixture("schedule")
        let text = try #require(fixture.file.metadata[name])
        let settings = try JSON.parse(text)
        let schedule = LearningRateSchedule(
            peak: try #require(settings["lr"]?.number), minimum: try #require(settings["min_lr"]?.number),
            warmupEpochs: try #require(settings["warmup_epochs"]?.number), epochs: try #require(settings["epochs"]?.number),
            stepsPerEpoch: try #require(settings["steps_per_epoch"]?.integer))
        for (step, value) in try fixture.numbers(name + "/values").enumerated() {
            #expect(abs(schedule.rate(step: step) - value) <= 1e-15, "step \(step)")
        }
    }
}
