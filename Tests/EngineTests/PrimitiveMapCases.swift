import MRPEngine

/// Operations of instance masks.
extension PrimitiveCase {
    /// Shares in (0, 1), two of every seven places without a target, which b says.
    private static func maps(_ g: CaseGraph) throws -> (a: Value, b: Value) {
        let a = try g.real("a", [3, 2, 5]) { 1 / (1 + ($0 * $0)) * 0.98 + 0.01 }
        return (a, try g.real("b", [6, 5]) { $0 < -0.6 ? -1 : 1 / (1 + ($0 * $0)) })
    }

    static let maps: [PrimitiveCase] =
        [
            PrimitiveCase(name: "sigmoid") { g in try g.graph.apply(Sigmoid(), [g.real("x", [3, 5]) { 3 * $0 }]) },
            PrimitiveCase(name: "binary cross entropies") { g in
                let (_, targets) = try maps(g), logits = try g.real("logits", [6, 5]) { 3 * $0 }
                let factors = try g.real("factors", [6], differentiated: false) { $0 * $0 }
                let plain = try g.graph.apply(BinaryCrossEntropy(), [logits, targets])
                let focal = try g.graph.apply(BinaryCrossEntropy(positive: 0.25, negative: 0.75, gamma: 2), [logits, targets, factors])
                return try g.graph.apply(Add(), [plain[0], focal[0]])
            },
            PrimitiveCase(name: "batched products") { g in
                let x = try g.real("x", [2, 3, 4]), z = try g.real("z", [2, 5, 4])
                let y = try g.graph.apply(BatchedProduct(transposeB: true), [x, z])[0]
                let back = try g.graph.apply(BatchedProduct(transposeA: true), [y, x])[0]
                return try g.graph.apply(BatchedProduct(transposeA: true, transposeB: true), [back, y])
            },
            PrimitiveCase(name: "appended columns") { g in
                try g.graph.apply(AppendColumns(), [g.real("x", [2, 3, 4]), g.real("columns", [3, 2], differentiated: false)])
            },
            PrimitiveCase(name: "maximum of rows") { g in
                try g.graph.apply(MaximumOfRows(), [g.real("x", [2, 4, 5]), g.real("factors", [2, 4])])
            },
            PrimitiveCase(name: "step scale") { g in
                let loss = try g.graph.apply(MeanSquaredError(), [g.real("p", [3, 5]), g.real("t", [15], differentiated: false)])[0]
                return try g.graph.apply(StepScale(), [loss, g.scalar("ramp", 0.3)])
            },
        ]
        + [MapLoss.Form.entropy, .dice, .squaredDice].flatMap { form in
            [false, true].map { isTarget in
                PrimitiveCase(name: "map loss \(form), target \(isTarget)") { g in
                    let (a, b) = try maps(g), factors = try g.real("factors", [6], differentiated: false) { $0 * $0 }
                    return try g.graph.apply(MapLoss(form, isTarget: isTarget), [a, b, isTarget ? factors : nil])
                }
            }
        }
}
