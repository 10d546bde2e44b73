import MRPEngine
import Testing

/// Every gradient rule gives one result for each input, whichever are wanted and whether or not the output influences the loss.
@Suite struct GradientRuleTests {
    struct Case: Sendable, CustomStringConvertible {
        let description: String
        let make: @Sendable (Graph) throws -> (operation: any Operation, inputs: [Value?])
    }

    static func value(_ graph: Graph, _ shape: [Int], _ element: ElementType = .real) -> Value {
        graph.input("x\(graph.inputs.count)", TensorType(shape, element))
    }

    static func geometry() throws -> PatchGeometry {
        try PatchGeometry(channels: 1, height: 4, width: 4, patchHeight: 2, patchWidth: 2)
    }

    static let cases = [
        Case(description: "matrix product") { (MatrixProduct(), [value($0, [2, 3]), value($0, [3, 4]), nil, value($0, [2, 4])]) },
        Case(description: "attention") { (Attention(heads: 1), [value($0, [1, 2, 6])]) },
        Case(description: "layer norm") { (LayerNorm(epsilon: 1e-5), [value($0, [2, 3]), value($0, [3]), value($0, [3])]) },
        Case(description: "batch norm") { (BatchNorm(), [value($0, [2, 3]), value($0, [3]), value($0, [3])]) },
        Case(description: "batch norm with residual") {
            (BatchNorm(activation: .relu), [value($0, [2, 3]), value($0, [3]), value($0, [3]), value($0, [2, 3])])
        },
        Case(description: "response norm") {
            (ImageNorm(.response, epsilon: 1e-5), [value($0, [1, 2, 3]), value($0, [3]), value($0, [3])])
        },
        Case(description: "convolution") {
            let window = try Window(2, kernel: 1)
            return (Convolution(rows: window, columns: window), [value($0, [1, 4, 3]), value($0, [2, 3, 1, 1]), value($0, [2])])
        },
        Case(description: "transposed convolution") {
            let window = try Window(2, kernel: 1)
            return (TransposedConvolution(rows: window, columns: window), [value($0, [1, 4, 3]), value($0, [3, 2, 1, 1])])
        },
        Case(description: "max pool") {
            let window = try Window(2, kernel: 2)
            return (Pool(.maximum, rows: window, columns: window), [value($0, [1, 4, 3]), nil, nil, nil, nil])
        },
        Case(description: "gather tokens") {
            (GatherTokens(), [value($0, [1, 2, 3]), value($0, [2], .int32), value($0, [3]), value($0, [4, 3]), nil])
        },
        Case(description: "extract patches") {
            (ExtractPatches(try geometry(), order: .channelsLast), [value($0, [1, 1, 4, 4]), value($0, [1, 2], .int32)])
        },
        Case(description: "scatter patches") {
            (ScatterPatches(try geometry(), order: .channelsLast), [value($0, [1, 2, 4]), value($0, [1, 2], .int32)])
        },
        Case(description: "mean squared error") { (MeanSquaredError(), [value($0, [2]), value($0, [2])]) },
        Case(description: "smooth L1") { (SmoothL1(beta: 1), [value($0, [2]), value($0, [2])]) },
        Case(description: "chamfer distance") { (ChamferDistance(), [value($0, [2, 3, 3]), value($0, [2, 4, 3])]) },
        Case(description: "reshape") { (Reshape([3, 2]), [value($0, [2, 3])]) },
        Case(description: "cross entropy") { (SoftmaxCrossEntropy(), [value($0, [2, 3]), value($0, [2], .int32)]) },
        Case(description: "soft target cross entropy") { (SoftTargetCrossEntropy(), [value($0, [2, 3]), value($0, [2, 3])]) },
        Case(description: "mean of tokens") { (MeanTokens(first: 0), [value($0, [1, 2, 3])]) },
        Case(description: "softmax") { (SoftmaxRows(), [value($0, [2, 3])]) },
        Case(description: "dispatch rows") {
            (DispatchRows(), [value($0, [2, 3]), value($0, [2], .int32), value($0, [2, 1], .int32)])
        },
        Case(description: "combine rows") {
            let lists = [value($0, [2], .int32), value($0, [2, 1], .int32)]
            return (CombineRows(shape: [2]), [value($0, [2, 3])] + lists + [value($0, [2]), value($0, [2, 3])])
        },
        Case(description: "expert product") {
            (ExpertProduct(experts: 1), [value($0, [2, 3]), value($0, [2], .int32), nil, value($0, [4, 3]), value($0, [4])])
        },
        Case(description: "balance loss") { (BalanceLoss(), [value($0, [2, 3])]) },
        Case(description: "entropy loss") { (EntropyLoss(), [value($0, [2, 3])]) },
        Case(description: "add") { (Add(), [value($0, [2]), value($0, [2])]) },
        Case(description: "scale") { (Scale(2), [value($0, [2])]) },
        Case(description: "scale images") { (ScaleImages(), [value($0, [2, 3]), value($0, [2])]) },
        Case(description: "scale images with residual") { (ScaleImages(), [value($0, [2, 3]), value($0, [2]), value($0, [2, 3])]) },
    ]

    @Test(arguments: cases, [true, false]) func oneResultForEachInput(_ given: Case, _ influencesLoss: Bool) throws {
        let graph = Graph()
        let (operation, inputs) = try given.make(graph)
        let outputs = try graph.apply(operation, inputs)
        // Only real inputs are ever wanted.
        let wanted = inputs.map { $0.map { graph.type(of: $0).element == .real } ?? false }
        let node = DifferentiatedNode(inputs: inputs, outputs: outputs, wanted: wanted)
        var gradients = [Value?](repeating: nil, count: outputs.count)
        if influencesLoss { gradients[0] = graph.input("gradient", graph.type(of: outputs[0])) }
        let results = try operation.inputGradients(node, gradients, in: graph)
        #expect(results.count == inputs.count)
        #expect(influencesLoss ? results[0] != nil : results.allSatisfy { $0 == nil })
    }
}
