import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import Testing

/// Objectives on convolutional networks against independent definitions in PyTorch (tools/fixtures/make_cell_objective_fixtures.py).
@Suite struct CellObjectiveTests {
    static let names = ["simmim", "maskfeat", "beit", "data2vec", "teacher_student", "given"]

    func objective(_ fixture: Fixture, _ encoder: any ConvolutionalEncoder) throws -> any PretrainingObjective {
        let count = encoder.geometry.count
        let masks = MaskChoice(.random, ratio: 1 - (try fixture.number("visible") + 0.5) / Double(count))
        #expect(try masks.visibleCount(encoder.geometry) == fixture.integer("visible"))
        let student = StudentSettings(
            masks, decoderWidth: try fixture.integer("decoder_width"),
            hiddenCells: try #require(HiddenCells(rawValue: fixture.text("hidden_cells"))))
        let teacher = Teacher(encoder, decay: Teacher.Decay(0.9, 0.9))
        switch try fixture.text("objective") {
        case "simmim": return try SimMIM(encoder, student)
        case "maskfeat": return try MaskFeat(encoder, student)
        case "beit": return try BEiT(encoder, student, tokens: 7, normalizesPatches: true)
        case "data2vec": return try Data2Vec(encoder, student, layers: nil, beta: 2, teacher: teacher)
        case "teacher_student": return try TeacherStudent(encoder, masks: masks, teacher: teacher)
        default: return try GivenTargets(encoder, student, width: 5, beta: nil)
        }
    }

    func model(_ fixture: Fixture) throws -> Model {
        let encoder = try fixture.convolutionalEncoder(cellSize: fixture.integer("cell_size"))
        let model = try Model(encoder: encoder, objective: objective(fixture, encoder), seed: 1)
        for key in fixture.keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            let values = try fixture.values("weights/" + key)
            #expect(tensor.count == values.count, "\(key)")
            _ = tensor.float32.update(fromContentsOf: values)
        }
        let rest = Set(model.parameters.tensors.keys).subtracting(fixture.keys("weights/"))
        #expect(rest.allSatisfy { $0.hasPrefix("tokenizer.") }, "\(rest)")
        if fixture.file.entries["codebook"] != nil {
            let codebook = try fixture.values("codebook")
            _ = model.parameters["tokenizer.codebook"]?.float32.update(fromContentsOf: codebook)
            let width = codebook.count / 7
            for entry in 0..<7 {
                let squares = codebook[entry * width..<(entry + 1) * width].reduce(0) { $0 + $1 * $1 }
                model.parameters["tokenizer.bias"]?[entry] = Double(-squares / 2)
            }
        }
        return model
    }

    func fill(_ program: any Program, _ fixture: Fixture) throws {
        for (key, input) in [("images", Inputs.imagesName), ("targets", "targets")] where fixture.file.entries[key] != nil {
            #expect(try program.write(reals: fixture.values(key), to: input))
        }
        for (key, input) in [("visible", PatchMask.visibleInput), ("hidden", PatchMask.hiddenInput)] {
            try program.write(fixture.values(key).map { Int32($0) }, to: input)
        }
    }

    @Test(arguments: names, [Precision.float64, .float32])
    func lossGradientsAndStatistics(_ name: String, _ precision: Precision) throws {
        let fixture = try Fixture("cells_" + name, in: "objectives")
        let model = try model(fixture)
        let (objective, batch) = (try #require(model.objective), try fixture.integer("batch"))
        let graph = Graph()
        let loss = try objective.loss(model.builder(graph, training: true), batch: batch)
        let trained = model.parameters.specifications.filter { $0.isTrainable && graph.boundValue($0.name) != nil }
        #expect(Set(trained.map(\.name)) == Set(fixture.keys("gradients/")))
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let weights = try model.parameters.copies(precision: precision)
        let program = try CPUProgram(
            graph, outputs: [loss] + values.compactMap { gradients[$0] }, state: weights, compute: Compute(precision: precision))
        try fill(program, fixture)
        try program.run()
        let (expected, tolerance) = (try fixture.number("loss"), precision == .float64 ? 1e-6 : 1e-5)
        let actual = try program.scalar(loss)
        #expect(abs(actual - expected) <= tolerance * expected, "\(actual) is not \(expected)")
        // Float32 rounds in each of the many layers of a network, and the absolute error's gradient is a sign, which rounding can turn.
        let gradientTolerance = precision == .float64 ? 1e-6 : 5e-4
        for (specification, value) in zip(trained, values) {
            let gradient = try #require(gradients[value], "gradient of \(specification.name)")
            let numbers = try program.reals(gradient)
            let error = deviation(numbers, try fixture.values("gradients/" + specification.name))
            #expect(error <= gradientTolerance, "gradient of \(specification.name): \(error)")
        }
        for key in fixture.keys("final/") {
            let tensor = try #require(weights[key])
            let error = deviation((0..<tensor.count).map { tensor[$0] }, try fixture.values("final/" + key))
            #expect(error <= tolerance, "\(key): \(error)")
        }
        for (key, tensor) in weights where key.hasPrefix("teacher.") && key.contains("running") {
            #expect((0..<tensor.count).allSatisfy { tensor[$0] == Double(model.parameters[key]!.float32[$0]) }, "\(key) is left alone")
        }
        #expect(graph.marks[NetworkBuilder.featuresMark].map { graph.shape(of: $0) } == [batch, model.encoder.featureWidth])
    }
}
