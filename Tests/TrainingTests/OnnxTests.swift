import MRPEngine
import MRPModels
import MRPOptions
import MRPTraining
import TestSupport
import Testing

/// What ONNX files are made of: the network in primitives against the processor's kernels. `Tests/python/test_onnx.py` runs the files.
@Suite struct OnnxTests {
    private func model(_ encoder: String, _ extra: [(String, String)] = []) throws -> (Model, Options) {
        var options = Options()
        let small = [("encoder", encoder), ("image_size", "16"), ("width", "12"), ("depth", "2"), ("heads", "3"), ("patch_size", "4")]
        for (key, value) in small + extra { try options.set(key, value) }
        let encoder = try options.encoder()
        return (try Model(encoder: encoder, head: ClassifierHead(classes: 5, pooling: .mean), seed: 3), options)
    }

    @Test(arguments: ["vit_micro", "resnet18", "convnextv2_atto"], ["keep", "new"])
    func networkInPrimitives(encoder: String, classifier: String) throws {
        let (model, options) = try model(encoder, [("classifier", classifier), ("features", "tokens")])
        let (graph, outputs) = try OnnxExport.graph(of: model, options, batch: 2)
        #expect(outputs.map(\.name) == (classifier == "keep" ? ["logits", "probabilities"] : ["features"]))
        let comparison = try PrimitiveComparison(
            graph, outputs: outputs.map(\.value), state: model.parameters.tensors, compute: Compute()
        ) { program in
            let random = try Tensor([2] + model.encoder.geometry.imageShape)
            RandomStream(seed: 5, .test).fillNormal(random.float32)
            try program.write(reals: Array(random.float32), to: "images")
        }
        #expect(comparison.error < 1e-4, "\(comparison.place)")
    }

    @Test func layersThatAreNotThereAreRefused() throws {
        let (model, _) = try model("vit_micro")
        let folder = try TemporaryFolder()
        var options = Options()
        try options.set("layer", "3")
        try options.set("classifier", "new")
        let error = #expect(throws: MRPError.self) { try OnnxExport.write(model, to: folder.file("m.onnx"), options) }
        #expect(error?.message == "layer 3 is outside 0 ... 2")
    }
}
