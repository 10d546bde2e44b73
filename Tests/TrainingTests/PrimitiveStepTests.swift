import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import TestSupport
import Testing

/// Whole training steps, gradients and optimiser included: the processor's kernels against the meaning of the graph in primitives.
@Suite struct PrimitiveStepTests {
    static let images = "images"

    /// Compares loss, gradients and all that a step updates.
    func check(
        _ model: Model, settings: Optimizer.Settings, precision: Precision, tolerance: Double, batch: Int,
        loss: (NetworkBuilder) throws -> Value, fill: (any Program) throws -> Void
    ) throws {
        let graph = Graph()
        let loss = try loss(model.builder(graph, training: true))
        let optimizer = try Optimizer(graph, loss: loss, model: model, settings: settings)
        var state: [String: Tensor] = [:]
        for (name, tensor) in model.parameters.tensors.merging(optimizer.moments, uniquingKeysWith: { first, _ in first }) {
            let copy = try Tensor(tensor.type, precision: precision)
            copy.copyElements(of: tensor)
            // In the midst of a run: the first step of Adam is the sign of the gradient, rounding included.
            if name.hasPrefix("second_moment/") { for index in 0..<copy.count { copy[index] = 1e-4 } }
            state[name] = copy
        }
        let gradients = optimizer.gradients.sorted { $0.key < $1.key }.map(\.value)
        let comparison = try PrimitiveComparison(
            graph, outputs: [loss] + gradients, state: state, compute: Compute(precision: precision)
        ) { program in
            let pixels = try #require(graph.inputValue(Self.images).map { graph.shape(of: $0).reduce(1, *) })
            let random = try Tensor([pixels])
            RandomStream(seed: 5, .test).fillNormal(random.float32)
            try program.write(reals: Array(random.float32), to: Self.images)
            try program.write(0.01, to: .learningRate)
            try program.write(0.5, to: .decayScale)
            try program.write(100, to: .step)
            try program.write(0.99, to: .averageDecay)
            try fill(program)
        }
        #expect(comparison.count > 2 * gradients.count && gradients.count > 20)
        #expect(comparison.error < tolerance, "\(comparison.place)")
    }

    func pretraining(_ model: Model, batch: Int, precision: Precision, tolerance: Double) throws {
        let objective = try #require(model.objective)
        var settings = Optimizer.Settings()
        settings.clipLimit = 0.1
        settings.averagesWeights = true
        let indices = [Int64](0..<Int64(batch))
        try check(model, settings: settings, precision: precision, tolerance: tolerance, batch: batch) {
            try objective.loss($0, batch: batch)
        } fill: { program in
            try indices.withUnsafeBufferPointer {
                _ = try objective.prepare(TrainingStep(BatchSlice(whole: batch), seed: 7, step: 0, indices: $0), program)
            }
        }
    }

    static let precisions: [(Precision, Double)] = [(.float64, 1e-9), (.float32, 2e-4)]

    @Test(arguments: precisions) func maskedAutoencoder(_ precision: Precision, _ tolerance: Double) throws {
        let geometry = try PatchGeometry(channels: 3, height: 16, width: 12, patchHeight: 4, patchWidth: 4)
        let encoder = try VisionTransformer(
            geometry: geometry, transformer: TransformerConfiguration(width: 16, depth: 2, heads: 2), epsilon: 1e-6)
        let decoder = try MaskedDecoder(TransformerConfiguration(width: 12, depth: 1, heads: 3))
        let objective = MaskedAutoencoder(encoder, decoder: decoder, normalizesTargets: true)
        try pretraining(Model(encoder: encoder, objective: objective, seed: 1), batch: 3, precision: precision, tolerance: tolerance)
    }

    @Test(arguments: precisions) func sparseMaskedModeling(_ precision: Precision, _ tolerance: Double) throws {
        let encoder = try ResidualNetwork(ResidualNetwork.sizes[0], stem: .imagenet, baseWidth: 4, channels: 3, height: 64, width: 64)
        let objective = try SparseMaskedModeling(
            encoder, decoder: ConvolutionalDecoder(width: 32), masks: MaskChoice(.random, ratio: 0.5, roundsToNearest: true),
            normalizesTargets: true)
        try pretraining(Model(encoder: encoder, objective: objective, seed: 1), batch: 2, precision: precision, tolerance: tolerance)
    }

    @Test(arguments: precisions) func montage(_ precision: Precision, _ tolerance: Double) throws {
        let encoder = try ResidualNetwork(ResidualNetwork.sizes[0], stem: .cifar, baseWidth: 4, channels: 3, height: 16, width: 8)
        var form = Montage.Form()
        form.levels = 2
        let head = try MontageHead(pyramid: FeaturePyramid(width: 6), convolutions: 1, hidden: 10, width: 8)
        let objective = try Montage(encoder, head, form, decay: Teacher.Decay(0.99, 1))
        try pretraining(Model(encoder: encoder, objective: objective, seed: 1), batch: 8, precision: precision, tolerance: tolerance)
    }

    @Test(arguments: precisions) func convNeXt(_ precision: Precision, _ tolerance: Double) throws {
        let encoder = try ConvNeXt(ConvNeXt.sizes[0], stem: .cifar, baseWidth: 4, channels: 3, height: 16, width: 16)
        let model = try Model(encoder: encoder, head: ClassifierHead(classes: 5, pooling: .mean), seed: 1)
        var settings = Optimizer.Settings()
        settings.layerDecay = 0.8
        let classification = try Classification(model, smoothing: 0.1)
        try check(model, settings: settings, precision: precision, tolerance: tolerance, batch: 2) {
            try classification.loss($0, batch: 2).loss
        } fill: { program in
            try program.write([3, 1], to: Inputs.labelsName)
        }
    }
}
