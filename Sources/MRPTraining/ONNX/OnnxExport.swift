import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// A model as an ONNX graph: its network in inference, as the library's own builders make it, operation by operation in primitives
/// (`Graph.lowered`) and these as ONNX nodes (`OnnxWalker`). So every encoder and every head can be exported.
public enum OnnxExport {
    /// Writes the file. Options: `features` and `layer` for an encoder; `classifier=new` leaves the head out.
    ///
    /// Errors: `.argument` as `Inference.encode`; `.unsupported` when an operation has no form in ONNX, or not for any number of images.
    public static func write(_ model: Model, to path: String, _ options: Options = Options()) throws {
        try model.checkNoExperts("ONNX")
        let programs = try [2, 3].map { batch in
            let (graph, outputs) = try graph(of: model, options, batch: batch)
            return (program: try graph.lowered(outputs: outputs.map(\.value)), outputs: outputs.map(\.name))
        }
        var walker = OnnxWalker(programs[0].program, shapes: try shapes(programs[0].program, programs[1].program), model)
        try walker.walk()
        for (name, result) in zip(programs[0].outputs, programs[0].program.results) { try walker.output(result.value, as: name) }
        try walker.graph.write(to: path, name: "libmrp")
    }

    /// What a file computes from the input `images`: `logits` and `probabilities` of a classifier, `outputs` of another head, or
    /// `features`.
    public static func graph(
        of model: Model, _ options: Options = Options(), batch: Int
    ) throws -> (graph: Graph, outputs: [(name: String, value: Value)]) {
        let (graph, inference) = (Graph(), Inference(model, options))
        let builder = model.builder(graph)
        guard let head = model.head, options[FileOptions.classifier] != .new else {
            let features = try inference.features(builder, batch: batch)
            guard options[FeatureOptions.features] == .cls else { return (graph, [("features", features)]) }
            // One row for each image: its dimension goes.
            return (graph, [("features", try graph.apply(MeanTokens(first: 0), [features])[0])])
        }
        let outputs = try inference.outputs(of: head, builder, batch: batch)
        guard head.isClassifier else { return (graph, [("outputs", outputs)]) }
        return (graph, [("logits", outputs), ("probabilities", try graph.apply(SoftmaxRows(), [outputs])[0])])
    }

    /// The shapes for any number of images, from the programs for 2 and for 3: a size that follows it is written as its negative multiple, -1
    /// for the number itself.
    private static func shapes(_ two: PrimitiveProgram, _ three: PrimitiveProgram) throws -> [[Int]] {
        let dependent = MRPError(.unsupported, "export to ONNX: what the network computes of an image depends on the number of images")
        guard two.types.count == three.types.count, two.instructions.count == three.instructions.count else { throw dependent }
        for (a, b) in zip(two.instructions, three.instructions) {
            guard a.operands == b.operands, a.result == b.result else { throw dependent }
            if case .constant(let a, _) = a.primitive, case .constant(let b, _) = b.primitive, a != b, !a.isNaN { throw dependent }
        }
        return try zip(two.types, three.types).map { first, second in
            guard first.shape.count == second.shape.count else { throw dependent }
            return try zip(first.shape, second.shape).map { first, second in
                guard first == second || (first % 2 == 0 && second == first / 2 * 3) else { throw dependent }
                return first == second ? first : -first / 2
            }
        }
    }
}
