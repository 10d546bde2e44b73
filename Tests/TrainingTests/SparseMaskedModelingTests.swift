import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import Testing

/// Masked pretraining of convolutional networks against an independent definition (see Tests/fixtures/spark/README.md).
@Suite struct SparseMaskedModelingTests {
    static let cases = ["resnet18_cifar", "resnet18_cifar_cells16", "resnet18_imagenet", "resnet50_imagenet", "resnet18_cifar_zero"]

    func model(_ fixture: Fixture) throws -> Model {
        let size = try ResidualNetwork.sizes.first { $0.name == (try fixture.text("architecture")) }
        let stem = ResidualNetwork.Stem(rawValue: try fixture.text("stem"))
        let encoder = try ResidualNetwork(
            #require(size), stem: #require(stem), baseWidth: fixture.integer("base_width"), channels: fixture.integer("channels"),
            height: fixture.integer("image_height"), width: fixture.integer("image_width"), cellSize: fixture.integer("cell_size"))
        let count = Double(encoder.geometry.count)
        let objective = try SparseMaskedModeling(
            encoder, decoder: ConvolutionalDecoder(width: fixture.integer("decoder_width")),
            maskRatio: (count - fixture.number("visible")) / count, normalizesTargets: fixture.flag("norm_pix_loss"),
            hiddenCells: #require(SparseMaskedModeling.HiddenCells(rawValue: fixture.text("hidden_cells"))))
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

    func fill(_ executor: Executor, _ fixture: Fixture) throws {
        let images = try #require(executor.input(MaskedAutoencoder.imagesInput))
        for (index, value) in try fixture.values("images").enumerated() { images[index] = Double(value) }
        for (key, input) in [("visible", PatchMask.visibleInput), ("hidden", PatchMask.hiddenInput)] {
            guard let cells = executor.input(input)?.int32 else { continue }
            for (index, value) in try fixture.values(key).enumerated() { cells[index] = Int32(value) }
        }
    }

    func numbers(_ executor: Executor, _ value: Value, _ graph: Graph) -> [Double] {
        (0..<graph.shape(of: value).reduce(1, *)).map { executor.scalar(value, $0) }
    }

    func check(_ name: String, precision: Precision, tolerance: Double) throws {
        let fixture = try Fixture(name, in: "spark")
        let model = try model(fixture)
        let objective = try #require(model.objective as? SparseMaskedModeling)
        let (batch, compute) = (try fixture.integer("batch"), try Compute(precision: precision))
        let weights = try model.parameters.copies(precision: precision)

        let inference = Graph()
        let prediction = try objective.prediction(model.builder(inference), batch: batch)
        let evaluation = try Executor(inference, outputs: [prediction], bound: weights, compute: compute)
        try fill(evaluation, fixture)
        evaluation.run()
        let error = try deviation(numbers(evaluation, prediction, inference), fixture.values("expected/prediction"))
        #expect(error <= tolerance, "prediction: \(error)")

        let graph = Graph()
        let loss = try objective.loss(model.builder(graph, training: true), batch: batch)
        let trained = model.parameters.specifications.filter { $0.isTrainable }
        let values = trained.map { graph.boundValue($0.name) }
        let gradients = try graph.gradients(of: loss, withRespectTo: values.compactMap { $0 })
        let executor = try Executor(graph, outputs: [loss] + gradients.values, bound: weights, compute: compute)
        try fill(executor, fixture)
        executor.run()
        let expectedLoss = try fixture.number("loss")
        #expect(abs(executor.scalar(loss) - expectedLoss) <= tolerance * expectedLoss, "loss")
        var checked = Set<String>()
        // The weight before a batch norm has no influence on the loss when it is a mere scale or shift: its gradient is rounding.
        for (specification, value) in zip(trained, values) {
            guard let value, let gradient = gradients[value] else { continue }
            let expected = try fixture.values("gradients/" + specification.name)
            let error = deviation(numbers(executor, gradient, graph), expected)
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
}
