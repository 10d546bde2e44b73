import Glibc
import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import Testing

/// The objectives beside MAE against independent definitions in PyTorch (tools/fixtures/make_objective_fixtures.py).
@Suite struct ObjectiveTests {
    static let folder = String(#filePath.dropLast("TrainingTests/ObjectiveTests.swift".count)) + "fixtures/objectives/"
    static let names = [
        "simmim", "maskfeat", "beit", "data2vec", "data2vec_skip", "ijepa", "ijepa_instance", "teacher_student", "teacher_student_instance",
        "given",
    ]
    static let batch = 3

    struct Stored {
        let file: SafetensorsFile

        init(_ name: String) throws { try self.init(path: ObjectiveTests.folder + name + ".safetensors") }

        init(path: String) throws { file = try SafetensorsFile(path: path) }

        func values(_ key: String) throws -> [Float] {
            let entry = try #require(file.entries[key], "\(key)")
            var result = [Float](repeating: 0, count: entry.count)
            try result.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
            return result
        }

        func number(_ key: String) throws -> Double {
            let text = try #require(file.metadata[key])
            return try #require(try JSON.parse(text).number)
        }

        func keys(_ prefix: String) -> [String] {
            file.entries.keys.filter { $0.hasPrefix(prefix) }.sorted().map { String($0.dropFirst(prefix.count)) }
        }
    }

    static func encoder() throws -> VisionTransformer {
        VisionTransformer(
            geometry: try PatchGeometry(channels: 2, height: 16, width: 20, patchHeight: 4, patchWidth: 4),
            transformer: try TransformerConfiguration(width: 24, depth: 3, heads: 3, hidden: 48))
    }

    static func objective(_ name: String) throws -> any PretrainingObjective {
        let encoder = try encoder()
        let masks = MaskChoice(.random, ratio: 0.53)  // hides 11 of 20
        let decoder = MaskedDecoder(try TransformerConfiguration(width: 16, depth: 2, heads: 2, role: "decoder"))
        let skips = name.hasSuffix("_skip")
        let student = StudentSettings(masks, decoder: decoder, hiddenCells: skips ? .skip : nil)
        let teacher = Teacher(encoder, decay: Teacher.Decay(0.9, 0.9), norm: skips || name.hasSuffix("_instance") ? .instance : .layer)
        switch name {
        case "simmim": return try SimMIM(encoder, student)
        case "maskfeat": return try MaskFeat(encoder, student)
        case "beit": return try BEiT(encoder, student, tokens: 7, normalizesPatches: true)
        case "data2vec", "data2vec_skip": return try Data2Vec(encoder, student, layers: 2, beta: 2, teacher: teacher)
        case "ijepa", "ijepa_instance":
            let predictor = try TransformerConfiguration(width: 16, depth: 2, heads: 2)
            return try IJEPA(encoder, predictor: predictor, maskRatio: 0.79, beta: 1, teacher: teacher)
        case "teacher_student", "teacher_student_instance": return try TeacherStudent(encoder, masks: masks, teacher: teacher)
        default: return try GivenTargets(encoder, student, width: 5, beta: nil)
        }
    }

    static func model(_ name: String, _ stored: Stored) throws -> Model {
        let model = try Model(encoder: encoder(), objective: objective(name), seed: 1)
        for key in stored.keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            _ = tensor.float32.update(fromContentsOf: try stored.values("weights/" + key))
        }
        if name == "beit" {
            let codebook = try stored.values("codebook")
            _ = model.parameters["tokenizer.codebook"]?.float32.update(fromContentsOf: codebook)
            for entry in 0..<7 {
                let squares = codebook[entry * 32..<(entry + 1) * 32].reduce(0) { $0 + $1 * $1 }
                model.parameters["tokenizer.bias"]?[entry] = Double(-squares / 2)
            }
        }
        return model
    }

    /// Images, masks and whatever else a step's inputs hold.
    static func fill(_ program: any Program, _ name: String, _ stored: Stored) throws {
        #expect(try program.write(reals: stored.values("images"), to: Inputs.imagesName))
        if name == "given" { #expect(try program.write(reals: stored.values("targets"), to: "targets")) }
        guard let jepa = try objective(name) as? IJEPA else {
            let bits = try stored.values("masks").map { UInt8($0) }
            try bits.withUnsafeBufferPointer { try PatchMask(mask: $0, batch: batch, count: 20).fill(program) }
            return
        }
        let context = try stored.values("context").map { Int($0) }
        let targets = try stored.values("target_blocks").map { Int($0) }
        for image in 0..<batch {
            let blocks = (0..<4).map { block in Array(targets[(image * 4 + block) * 4..<(image * 4 + block + 1) * 4]) }
            try jepa.fill(program, image: image, context: Array(context[image * 4..<(image + 1) * 4]), targets: blocks)
        }
    }

    @Test(arguments: names, [Precision.float64, .float32])
    func lossAndGradients(_ name: String, _ precision: Precision) throws {
        let stored = try Stored(name)
        let model = try Self.model(name, stored)
        let graph = Graph()
        let objective = try #require(model.objective)
        let loss = try objective.loss(model.builder(graph, training: true), batch: Self.batch)
        let trained = model.parameters.specifications.filter { $0.isTrainable && graph.boundValue($0.name) != nil }
        #expect(Set(trained.map(\.name)) == Set(stored.keys("gradients/")))
        let values = try trained.map { try #require(graph.boundValue($0.name)) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values)
        let program = try CPUProgram(
            graph, outputs: [loss] + values.compactMap { gradients[$0] }, state: model.parameters.copies(precision: precision),
            compute: Compute(precision: precision))
        try Self.fill(program, name, stored)
        try program.run()
        let (expected, tolerance) = (try stored.number("loss"), precision == .float64 ? 1e-6 : 1e-5)
        let actual = try program.scalar(loss)
        #expect(abs(actual - expected) <= tolerance * expected, "\(actual) is not \(expected)")
        for (specification, value) in zip(trained, values) {
            let gradient = try #require(gradients[value], "gradient of \(specification.name)")
            let numbers = try program.reals(gradient)
            let error = deviation(numbers, try stored.values("gradients/" + specification.name))
            #expect(error <= tolerance, "gradient of \(specification.name): \(error)")
        }
        #expect(graph.marks[NetworkBuilder.featuresMark].map { graph.shape(of: $0) } == [Self.batch, 24])
    }

    /// One step of plain SGD, and the teacher's after it.
    @Test(arguments: ["data2vec", "ijepa", "teacher_student"])
    func teachersFollow(_ name: String) throws {
        let stored = try Stored(name)
        let model = try Self.model(name, stored)
        let objective = try #require(model.objective)
        let graph = Graph()
        let loss = try objective.loss(model.builder(graph, training: true), batch: Self.batch)
        var settings = Optimizer.Settings()
        (settings.method, settings.momentum, settings.weightDecay) = (.sgd, 0, 0)
        let optimizer = try Optimizer(graph, loss: loss, model: model, objective: objective, settings: settings)
        let program = try CPUProgram(
            graph, outputs: [loss], state: model.parameters.tensors.merging(optimizer.moments) { first, _ in first }, compute: Compute())
        try Self.fill(program, name, stored)
        try program.write(0.1, to: .learningRate)
        try program.write(objective.emaDecay(fraction: 0.3), to: .teacherDecay)
        try program.run()
        for key in stored.keys("averaged/") {
            let tensor = try #require(model.parameters[key])
            #expect(deviation((0..<tensor.count).map { tensor[$0] }, try stored.values("averaged/" + key)) <= 1e-6, "\(key)")
        }
        #expect(!stored.keys("averaged/").isEmpty)
    }

    @Test func teachersDecayOnALine() {
        let decay = Teacher.Decay(0.99, 0.9999)
        #expect(decay.value(fraction: 0) == 0.99)
        #expect(decay.value(fraction: 1) == 0.9999)
        #expect(abs(decay.value(fraction: 0.25) - (0.99 + 0.25 * 0.0099)) < 1e-15)
    }

    @Test func skippingNeedsADecoder() throws {
        let error = try #require(throws: MRPError.self) {
            _ = try SimMIM(Self.encoder(), StudentSettings(MaskChoice(.random, ratio: 0.5), hiddenCells: .skip))
        }
        #expect(error.message.contains("needs a decoder"))
    }

    /// A fresh teacher is the encoder as it is, at that moment.
    @Test func teachersBeginAsCopies() throws {
        let model = try Model(encoder: Self.encoder(), seed: 4)
        model.parameters["blocks.0.mlp.fc1.bias"]?[3] = 7
        try model.attach(Self.objective("data2vec"), seed: 5)
        for name in ["cls_token", "blocks.0.mlp.fc1.bias", "blocks.2.attn.qkv.weight", "norm.weight"] {
            let (mine, teacher) = (try #require(model.parameters[name]), try #require(model.parameters["teacher." + name]))
            #expect((0..<mine.count).allSatisfy { mine[$0] == teacher[$0] }, "\(name)")
        }
        #expect(model.parameters.specifications.allSatisfy { !$0.isTrainable || !$0.name.hasPrefix("teacher.") })
    }

    /// scikit-image's histograms; a patch of 16 pixels has four cells of 8. The images are drawn, or those of a file that
    /// tools/fixtures/check_histograms.py made of photographs.
    @Test(arguments: [(4, "cells4"), (8, "cells8"), (16, "cells8")], [Precision.float64, .float32])
    func histograms(_ patch: (Int, String), _ precision: Precision) throws {
        let stored = try getenv("MRP_HISTOGRAMS").map { try Stored(path: String(cString: $0)) } ?? Stored("hog")
        let images = try stored.values("images")
        let geometry = try PatchGeometry(channels: 1, height: 32, width: 32, patchHeight: patch.0, patchWidth: patch.0)
        let operation = HistogramsOfGradients(geometry)
        let graph = Graph()
        let input = graph.input("images", TensorType([50, 1, 32, 32]))
        let output = try graph.apply(operation, [input])[0]
        let program = try CPUProgram(graph, outputs: [output], state: [:], compute: Compute(precision: precision))
        try program.write(reals: images, to: "images")
        try program.run()
        let found = try program.reals(output)
        let expected = try stored.values(patch.1)
        let (cells, grid) = (32 / min(patch.0, 8), geometry.gridWidth)
        #expect(graph.shape(of: output) == [50, geometry.count, operation.cellRows * operation.cellColumns * 9])
        var largest = 0.0
        for image in 0..<50 {
            for row in 0..<cells {
                for column in 0..<cells {
                    let (inner, patchIndex) = (
                        row % operation.cellRows * operation.cellColumns + column % operation.cellColumns,
                        row / operation.cellRows * grid + column / operation.cellColumns
                    )
                    let cell = (image * geometry.count + patchIndex) * operation.cellRows * operation.cellColumns + inner
                    for bin in 0..<9 {
                        let theirs = Double(expected[((image * cells + row) * cells + column) * 9 + bin])
                        largest = max(largest, abs(found[cell * 9 + bin] - theirs))
                    }
                }
            }
        }
        #expect(largest <= 1e-4, "\(largest)")
    }
}
