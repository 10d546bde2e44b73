import MRPEngine
import Testing

/// Every operation's gradient rule and reference kernel against central differences, in float64.
@Suite struct GradientTests {
    /// A float64 tensor of normal numbers; different for each name.
    func normal(_ shape: [Int], _ name: String) throws -> Tensor {
        let tensor = try Tensor(shape, precision: .float64)
        let single = try Tensor([tensor.count])
        RandomStream(seed: UInt64(name.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xffff }), .test).fillNormal(single.float32)
        for index in 0..<tensor.count { tensor[index] = Double(single[index]) }
        return tensor
    }

    func indices(_ values: [Int32], shape: [Int]) throws -> Tensor {
        let tensor = try Tensor(TensorType(shape, .int32))
        _ = tensor.int32.update(fromContentsOf: values)
        return tensor
    }

    /// Builds y from the named tensors, compares y with a fixed target and checks all gradients of that loss.
    func check(
        _ shapes: [String: [Int]], ids: [String: Tensor] = [:], constants: Set<String> = [],
        build: (Graph, [String: Value]) throws -> Value
    ) throws {
        var tensors: [String: Tensor] = [:]
        for (name, shape) in shapes { tensors[name] = try normal(shape, name) }
        let checked = tensors.filter { !constants.contains($0.key) }
        let others = tensors.filter { constants.contains($0.key) }.merging(ids) { first, _ in first }
        var targetTensor: Tensor?
        let result = try GradientCheck.run(tensors: checked, indices: others) { graph in
            var values: [String: Value] = [:]
            for (name, tensor) in tensors.merging(ids, uniquingKeysWith: { first, _ in first }) {
                values[name] = graph.bound(name, tensor.type)
            }
            let output = try build(graph, values)
            if graph.shape(of: output).isEmpty { return output }
            let target = try Tensor(graph.shape(of: output))
            RandomStream(seed: 3, .test).fillNormal(target.float32)
            targetTensor = target
            return try graph.apply(MeanSquaredError(), [output, graph.constant(target)])[0]
        }
        withExtendedLifetime(targetTensor) {}
        #expect(result.count >= 4)
        #expect(result.largestError < 1e-8, "\(result)")
    }

    @Test(arguments: [(false, false), (false, true), (true, false), (true, true)])
    func matrixProduct(_ transposed: (Bool, Bool)) throws {
        let (a, b) = (transposed.0 ? [5, 3] : [3, 5], transposed.1 ? [4, 5] : [5, 4])
        try check(["a": a, "b": b, "bias": [4], "residual": [3, 4]]) { graph, values in
            try graph.apply(
                MatrixProduct(transposeA: transposed.0, transposeB: transposed.1),
                [values["a"], values["b"], values["bias"], values["residual"]])[0]
        }
    }

    @Test func geluBetweenLinearLayers() throws {
        try check(["x": [2, 3, 4], "w1": [6, 4], "b1": [6], "w2": [5, 6], "b2": [5]]) { graph, values in
            let hidden = try graph.apply(MatrixProduct(transposeB: true, activation: .gelu), [values["x"], values["w1"], values["b1"]])[0]
            return try graph.apply(MatrixProduct(transposeB: true), [hidden, values["w2"], values["b2"]])[0]
        }
    }

    @Test(arguments: [0, 0.3, 2.0]) func smoothL1(_ beta: Double) throws {
        try check(["x": [3, 2, 5], "target": [3, 2, 5]], constants: ["target"]) { graph, values in
            try graph.apply(SmoothL1(beta: beta), [values["x"], values["target"]])[0]
        }
    }

    /// Both sides, once and with the other one fixed; the shape is another between.
    @Test(arguments: [[], ["a"], ["b"]] as [Set<String>]) func chamferDistance(_ constants: Set<String>) throws {
        try check(["a": [3, 4, 3], "b": [3, 15]], constants: constants) { graph, values in
            try graph.apply(ChamferDistance(), [values["a"], graph.apply(Reshape([3, 5, 3]), [values["b"]])[0]])[0]
        }
    }

    /// Rows of more than two dimensions, as token predictions have them.
    @Test func crossEntropyOfTokens() throws {
        let labels = try indices([3, 0, 1, 1, 2, 3], shape: [6])
        try check(["x": [2, 3, 4]], ids: ["labels": labels]) { graph, values in
            try graph.apply(SoftmaxCrossEntropy(smoothing: 0.1), [values["x"], values["labels"]])[0]
        }
    }

    @Test(arguments: [false, true]) func scaledImages(_ hasResidual: Bool) throws {
        try check(["x": [3, 2, 5], "factors": [3], "residual": [3, 2, 5]], constants: ["factors"]) { graph, values in
            let scaled = try graph.apply(ScaleImages(), [values["x"], values["factors"], hasResidual ? values["residual"] : nil])[0]
            return hasResidual ? scaled : try graph.apply(Add(), [scaled, values["residual"]!])[0]
        }
    }

    @Test func layerNorm() throws {
        try check(["x": [3, 2, 7], "gamma": [7], "beta": [7]]) { graph, values in
            try graph.apply(LayerNorm(epsilon: 1e-6), [values["x"], values["gamma"], values["beta"]])[0]
        }
    }

    @Test(arguments: [(1, 1, 1, 2), (2, 5, 3, 4), (1, 9, 2, 3)])
    func attention(_ size: (batch: Int, tokens: Int, heads: Int, width: Int)) throws {
        try check(["qkv": [size.batch, size.tokens, 3 * size.heads * size.width]]) { graph, values in
            try graph.apply(Attention(heads: size.heads), [values["qkv"]])[0]
        }
    }

    /// q, k and v apart; `lengths` hold none, some and all of the keys.
    @Test(arguments: [nil, [3, 0, 5], [1, 5, 2]] as [[Int32]?])
    func attentionWithLengths(_ lengths: [Int32]?) throws {
        let ids = try lengths.map { ["lengths": try indices($0, shape: [3])] } ?? [:]
        try check(["q": [3, 4, 6], "k": [3, 5, 6], "v": [3, 5, 6]], ids: ids) { graph, values in
            try graph.apply(
                ScaledDotProductAttention(heads: 2), [values["q"], values["k"], values["v"], values["lengths"]])[0]
        }
    }

    /// One value in three roles: its gradient is the sum of three.
    @Test func attentionToItself() throws {
        try check(["x": [2, 5, 6]]) { graph, values in
            try graph.apply(ScaledDotProductAttention(heads: 3), [values["x"], values["x"], values["x"], nil])[0]
        }
    }

    @Test func gatherWithEverything() throws {
        let ids = try indices([-1, 2, 0, 3, 1, 0, -1, 2], shape: [2, 4])
        let tableIds = try indices([0, 3, 1, 4, 0, 2, 4, 4], shape: [2, 4])
        try check(["x": [2, 4, 3], "fill": [3], "table": [5, 3]], ids: ["ids": ids, "tableIds": tableIds]) { graph, values in
            try graph.apply(
                GatherTokens(), [values["x"], values["ids"], values["fill"], values["table"], values["tableIds"]])[0]
        }
    }

    @Test func gatherSharedIds() throws {
        let ids = try indices([2, 0, -1], shape: [3])
        try check(["x": [2, 4, 3], "table": [6, 3]], ids: ["ids": ids]) { graph, values in
            try graph.apply(GatherTokens(), [values["x"], values["ids"], nil, values["table"], nil])[0]
        }
    }

    @Test(arguments: [ExtractPatches.Order.channelsFirst, .channelsLast])
    func patches(_ order: ExtractPatches.Order) throws {
        let geometry = try PatchGeometry(channels: 2, height: 6, width: 4, patchHeight: 3, patchWidth: 2)
        let ids = try indices([3, 0, 1, 2], shape: [2, 2])
        try check(["images": [2, 2, 6, 4]], ids: ["ids": ids]) { graph, values in
            try graph.apply(ExtractPatches(geometry, order: order), [values["images"], values["ids"]])[0]
        }
        try check(["patches": [2, 2, 12]], ids: ["ids": ids]) { graph, values in
            try graph.apply(ScatterPatches(geometry, order: order), [values["patches"], values["ids"]])[0]
        }
    }

    @Test func meanSquaredError() throws {
        try check(["p": [3, 5], "t": [3, 5]], constants: ["t"]) { graph, values in
            try graph.apply(MeanSquaredError(), [values["p"], values["t"]])[0]
        }
    }

    @Test(arguments: [0, 0.1])
    func crossEntropy(_ smoothing: Double) throws {
        let labels = try indices([2, 0, 4], shape: [3])
        try check(["logits": [3, 5]], ids: ["labels": labels]) { graph, values in
            try graph.apply(SoftmaxCrossEntropy(smoothing: smoothing), [values["logits"], values["labels"]])[0]
        }
    }

    @Test func softTargetCrossEntropy() throws {
        try check(["logits": [3, 5], "scores": [3, 5]], constants: ["scores"]) { graph, values in
            let targets = try graph.apply(SoftmaxRows(), [values["scores"]])[0]
            return try graph.apply(SoftTargetCrossEntropy(), [values["logits"], targets])[0]
        }
    }

    @Test(arguments: [0, 0.5, 1, 2.0]) func focalCrossEntropy(_ gamma: Double) throws {
        let labels = try indices([2, 0, 4, 1, 1, 3], shape: [6])
        try check(["logits": [2, 3, 5], "weights": [6]], ids: ["labels": labels], constants: ["weights"]) { graph, values in
            try graph.apply(FocalCrossEntropy(gamma: gamma), [values["logits"], values["labels"], values["weights"]])[0]
        }
    }

    @Test(arguments: [false, true]) func dice(_ weighted: Bool) throws {
        let labels = try indices([2, 0, 2, 1, 1, 0], shape: [6])
        try check(["logits": [2, 3, 4], "weights": [6]], ids: ["labels": labels], constants: ["weights"]) { graph, values in
            // Weights of a loss are not negative.
            let weights = weighted ? try graph.apply(SoftmaxRows(), [values["weights"]])[0] : nil
            return try graph.apply(DiceLoss(), [values["logits"], values["labels"], weights])[0]
        }
    }

    @Test func geluAlone() throws {
        try check(["x": [3, 2, 5]]) { graph, values in try graph.apply(Gelu(), [values["x"]])[0] }
    }

    @Test(arguments: [(8, 10), (3, 2), (4, 5), (7, 3)]) func resizeBilinear(_ to: (height: Int, width: Int)) throws {
        try check(["x": [2, 20, 3]]) { graph, values in
            try graph.apply(ResizeBilinear(from: (4, 5), to: to), [values["x"]])[0]
        }
    }

    @Test func concatenatedRows() throws {
        // The middle part is also used alone.
        try check(["x": [2, 3, 4], "y": [1, 3, 4], "z": [3, 3, 4]]) { graph, values in
            let all = try graph.apply(ConcatenateRows(), [values["x"], values["y"], values["z"]])[0]
            let part = try graph.apply(SliceRows(first: 1, count: 3), [all])[0]
            return try graph.apply(ConcatenateRows(), [all, values["y"], part])[0]
        }
    }

    @Test(arguments: [0, 1]) func meanTokens(_ first: Int) throws {
        try check(["x": [2, 4, 3]]) { graph, values in try graph.apply(MeanTokens(first: first), [values["x"]])[0] }
    }

    @Test func sumsAndScales() throws {
        // x is used three times, so gradients are accumulated, once inside a kernel and once by an addition.
        try check(["x": [3, 4], "w": [4, 4], "gamma": [4], "beta": [4]]) { graph, values in
            let scaled = try graph.apply(Scale(0.7), [values["x"]])[0]
            let normed = try graph.apply(LayerNorm(epsilon: 1e-5), [values["x"], values["gamma"], values["beta"]])[0]
            let product = try graph.apply(MatrixProduct(), [normed, values["w"], nil, values["x"]])[0]
            return try graph.apply(Add(), [product, scaled])[0]
        }
    }

    @Test func aTargetHasNoGradient() throws {
        let graph = Graph()
        let x = graph.bound("x", TensorType([2, 3]))
        let y = try graph.apply(StandardizeRows(), [x])[0]
        let loss = try graph.apply(MeanSquaredError(), [y, x])[0]
        let error = #expect(throws: MRPError.self) { try graph.gradients(of: loss, withRespectTo: [x]) }
        #expect(error?.message == "the operation 'standardize rows' has no gradient")
    }
}
