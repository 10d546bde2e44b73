import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import Testing

/// Fifty steps of fine-tuning against PyTorch's: same weights, same batches, same rates (tools/fixtures/make_weight_fixtures.py).
@Suite struct FineTuningCurveTests {
    static let folder = String(#filePath.dropLast("TrainingTests/FineTuningCurveTests.swift".count)) + "fixtures/weights/"

    /// MAE's recipe (mean of patches, layer decay, fixed positions), timm's network (class token, learned positions), and torchvision's
    /// ResNet-18 (batch norms in training, layer decay by stages).
    @Test(arguments: [("curve_mae", Pooling.mean, 0.75), ("curve_timm", .cls, 1.0), ("curve_resnet", .mean, 0.75)])
    func fiftySteps(_ name: String, _ pooling: Pooling, _ layerDecay: Double) throws {
        let file = try SafetensorsFile(path: Self.folder + name + ".safetensors")
        func values(_ key: String) throws -> [Float] {
            let entry = try #require(file.entries[key])
            var result = [Float](repeating: 0, count: entry.count)
            try result.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
            return result
        }
        func numbers(_ key: String) throws -> [Double] {
            let text = try #require(file.metadata[key])
            return try #require(try JSON.parse(text).array?.compactMap(\.number))
        }
        let encoder: any ImageEncoder =
            name == "curve_resnet"
            ? try ResidualNetwork(ResidualNetwork.sizes[0], stem: .cifar, baseWidth: 4, channels: 3, height: 12, width: 12)
            : VisionTransformer(
                geometry: try PatchGeometry(channels: 3, height: 12, width: 12, patchHeight: 4, patchWidth: 4),
                transformer: try TransformerConfiguration(width: 24, depth: 2, heads: 3, hidden: 48),
                positions: pooling == .cls ? .learned : .sinCos)
        let model = try Model(encoder: encoder, head: ClassifierHead(classes: 4, pooling: pooling), seed: 0)
        for specification in model.parameters.specifications where file.entries["weights/" + specification.name] != nil {
            let tensor = try #require(model.parameters[specification.name])
            _ = tensor.float32.update(fromContentsOf: try values("weights/" + specification.name))
        }
        let batch = 8
        let graph = Graph()
        let loss = try Classification(model, smoothing: 0.1).loss(model.builder(graph, training: true), batch: batch).loss
        var settings = Optimizer.Settings()
        settings.layerDecay = layerDecay
        settings.decaysTokens = false
        let optimizer = try Optimizer(graph, loss: loss, model: model, settings: settings)
        #expect((optimizer.gradients["pos_embed"] != nil) == (pooling == .cls))
        let program = try CPUProgram(
            graph, outputs: [loss], state: model.parameters.tensors.merging(optimizer.moments) { first, _ in first }, compute: Compute())
        let (images, labels, order) = (try values("images"), try values("labels"), try values("order").map { Int($0) })
        let (losses, rates) = (try numbers("losses"), try numbers("rates"))
        #expect(losses.count == 50)
        let size = 3 * 12 * 12
        try program.write(1, to: .decayScale)
        for step in losses.indices {
            let chosen = order[step * batch..<(step + 1) * batch]
            try program.write(reals: chosen.flatMap { images[$0 * size..<($0 + 1) * size] }, to: Inputs.imagesName)
            try program.write(chosen.map { Int32(labels[$0]) }, to: Inputs.labelsName)
            try program.write(rates[step], to: .learningRate)
            try program.write(Double(step + 1), to: .step)
            try program.run()
            #expect(try abs(program.scalar(loss) - losses[step]) <= 1e-3 * losses[step], "loss of step \(step)")
        }
    }
}
