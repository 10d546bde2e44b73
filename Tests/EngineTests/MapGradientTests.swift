import MRPEngine
import Testing

/// Gradients of the operations of instance masks.
extension GradientTests {
    @Test func sigmoid() throws {
        try check(["x": [3, 2, 5]]) { graph, values in try graph.apply(Sigmoid(), [values["x"]])[0] }
    }

    /// Targets between 0 and 1, the last place of each row without one.
    private func targets(_ graph: Graph) throws -> Value {
        let tensor = try Tensor([6, 5])
        for index in 0..<30 { tensor.float32[index] = index % 5 == 4 ? -1 : Float(index % 7) / 6 }
        return graph.constant(tensor)
    }

    @Test(arguments: [(1, 1, 0), (0.25, 0.75, 2), (0.25, 0.75, 0.5)]) func binaryCrossEntropy(_ form: (Double, Double, Double)) throws {
        try check(["logits": [3, 2, 5], "scores": [6]], constants: ["scores"]) { graph, values in
            let factors = try graph.apply(SoftmaxRows(), [values["scores"]])[0]
            let loss = BinaryCrossEntropy(positive: form.0, negative: form.1, gamma: form.2)
            return try graph.apply(loss, [values["logits"], targets(graph), factors])[0]
        }
    }

    @Test(arguments: [MapLoss.Form.entropy, .dice, .squaredDice], [false, true]) func mapLosses(_ form: MapLoss.Form, _ both: Bool) throws {
        try check(["a": [3, 2, 5], "b": [6, 5], "scores": [6]], constants: both ? ["scores"] : ["scores", "b"]) { graph, values in
            let a = try graph.apply(Sigmoid(), [values["a"]])[0]
            let b = try both ? graph.apply(Sigmoid(), [values["b"]])[0] : targets(graph)
            let factors = try graph.apply(SoftmaxRows(), [values["scores"]])[0]
            return try graph.apply(MapLoss(form, isTarget: !both), [a, b, factors])[0]
        }
    }

    @Test(arguments: [(false, false), (false, true), (true, false), (true, true)])
    func batchedProduct(_ transposed: (Bool, Bool)) throws {
        try check(["a": transposed.0 ? [2, 5, 3] : [2, 3, 5], "b": transposed.1 ? [2, 4, 5] : [2, 5, 4]]) { graph, values in
            try graph.apply(BatchedProduct(transposeA: transposed.0, transposeB: transposed.1), [values["a"], values["b"]])[0]
        }
    }

    @Test func appendedColumns() throws {
        try check(["x": [2, 3, 4], "columns": [3, 2]], constants: ["columns"]) { graph, values in
            try graph.apply(AppendColumns(), [values["x"], values["columns"]])[0]
        }
    }

    @Test(arguments: [[], ["x"], ["factors"]] as [Set<String>]) func maximumOfRows(_ constants: Set<String>) throws {
        try check(["x": [2, 4, 5], "factors": [2, 4]], constants: constants) { graph, values in
            try graph.apply(MaximumOfRows(), [values["x"], values["factors"]])[0]
        }
    }
}
