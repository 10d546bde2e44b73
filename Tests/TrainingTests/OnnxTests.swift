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
        let small = [("encoder", encoder), ("image_size", "8"), ("width", "12"), ("depth", "2"), ("heads", "3"), ("patch_size", "4")]
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

    /// Heads whose outputs are no function of one image.
    @Test(arguments: [StrangeHead.Kind.batchStatistics, .otherInput, .oneNumber]) func networksThatNoFileHoldsAreRefused(
        _ kind: StrangeHead.Kind
    ) throws {
        let (model, options) = try model("vit_micro")
        try model.attach(StrangeHead(kind: kind), seed: 1)
        let folder = try TemporaryFolder()
        let error = #expect(throws: MRPError.self) { try OnnxExport.write(model, to: folder.file("m.onnx"), options) }
        #expect(error?.code == .unsupported)
        #expect(error?.message.contains(kind.rawValue) == true)
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

struct StrangeHead: Head {
    /// With a part of the error that the export gives.
    enum Kind: String {
        case batchStatistics = "depends on the number of images"
        case otherInput = "the input 'other'"
        case oneNumber = "'outputs' is not one value for each image"
    }

    static let name = "strange"
    let kind: Kind
    var classes: Int { 1 }
    var settings: [(key: String, value: JSON)] { [] }

    func parameters(on encoder: any ImageEncoder) -> [ParameterSpecification] {
        layerNormParameters("strange", width: encoder.featureWidth)
    }

    func outputs(_ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let features = try encoder.pooled(encoder.features(images, layer: nil, pooling: nil, builder), builder)
        switch kind {
        case .batchStatistics:
            return try graph.apply(BatchNorm(), [features, builder.weight("strange.weight"), builder.weight("strange.bias")])[0]
        case .otherInput: return try graph.apply(Add(), [features, graph.input("other", graph.type(of: features))])[0]
        case .oneNumber: return try builder.weight("strange.weight")
        }
    }
}
