import MRPEngine
import Testing

/// A graph in construction with the tensors that it is run on: normal numbers in float64, different for each name.
final class CaseGraph {
    let graph = Graph()
    private(set) var tensors: [String: Tensor] = [:]
    private(set) var inputs: [String: [Double]] = [:]
    private(set) var differentiable: [Value] = []

    func real(_ name: String, _ shape: [Int], differentiated: Bool = true, _ change: (Double) -> Double = { $0 }) throws -> Value {
        let (tensor, single) = (try Tensor(shape, precision: .float64), try Tensor(shape))
        RandomStream(seed: UInt64(name.utf8.reduce(7) { ($0 &* 31 &+ Int($1)) & 0xffff }), .test).fillNormal(single.float32)
        for index in 0..<tensor.count { tensor[index] = change(Double(single[index])) }
        tensors[name] = tensor
        let value = graph.bound(name, tensor.type)
        if differentiated { differentiable.append(value) }
        return value
    }

    func indices(_ name: String, _ values: [Int32], _ shape: [Int]) throws -> Value {
        let tensor = try Tensor(TensorType(shape, .int32))
        _ = tensor.int32.update(fromContentsOf: values)
        tensors[name] = tensor
        return graph.bound(name, tensor.type)
    }

    /// An input that holds these numbers.
    func input(_ name: String, _ type: TensorType, _ numbers: [Double]) -> Value {
        inputs[name] = numbers
        return graph.input(name, type)
    }

    func scalar(_ name: String, _ number: Double) -> Value { input(name, TensorType([], .float64), [number]) }

    func fill(_ program: any Program) throws {
        for (name, numbers) in inputs {
            if graph.inputValue(name).map({ graph.type(of: $0).element }) == .int32 {
                try program.write(numbers.map { Int32($0) }, to: name)
            } else {
                try numbers.withUnsafeBufferPointer { _ = try program.write($0, to: name) }
            }
        }
    }

    /// Gradients of the distance of `output` from a fixed target in all real tensors on which it depends.
    func gradients(of output: Value) throws -> [Value] {
        var loss = output
        if !graph.shape(of: output).isEmpty {
            let target = try Tensor(graph.shape(of: output))
            RandomStream(seed: 3, .test).fillNormal(target.float32)
            loss = try graph.apply(MeanSquaredError(), [output, graph.constant(target)])[0]
        }
        let byValue = try graph.gradients(of: loss, withRespectTo: differentiable)
        return differentiable.compactMap { byValue[$0] }
    }
}

/// Unchecked: the closures hold operations and numbers that nobody changes.
struct PrimitiveCase: @unchecked Sendable, CustomTestStringConvertible {
    let name: String
    /// Whether the gradients of the first output are compared too.
    var differentiated = true
    let build: (CaseGraph) throws -> [Value]

    var testDescription: String { name }

    func outputs(_ graph: CaseGraph) throws -> [Value] {
        let outputs = try build(graph)
        return try outputs + (differentiated ? outputs.first.map(graph.gradients) ?? [] : [])
    }

    static let all =
        products + norms + attention + attentionScores + separateAttention + tokens + losses + rows + contrast + convolutions + pools
        + updates + experts + maps

    // MARK: Products and norms

    static let products: [PrimitiveCase] =
        [(false, false), (false, true), (true, false), (true, true)].flatMap { left, right in
            [false, true].map { added in
                PrimitiveCase(name: "product \(left) \(right) \(added)") { g in
                    let a = try g.real("a", left ? [5, 3] : [2, 3, 5]), b = try g.real("b", right ? [4, 5] : [5, 4])
                    let residual = added ? try g.real("residual", left ? [3, 4] : [2, 3, 4]) : nil
                    return try g.graph.apply(
                        MatrixProduct(transposeA: left, transposeB: right), [a, b, added ? g.real("bias", [4]) : nil, residual])
                }
            }
        } + [
            PrimitiveCase(name: "gelu between products") { g in
                let x = try g.real("x", [2, 3, 4])
                let hidden = try g.graph.apply(
                    MatrixProduct(transposeB: true, activation: .gelu), [x, g.real("w1", [6, 4]), g.real("b1", [6])])
                return try g.graph.apply(MatrixProduct(transposeB: true), [hidden[0], g.real("w2", [5, 6]), g.real("b2", [5])]) + hidden
            },
            PrimitiveCase(name: "gelu before a norm") { g in
                let hidden = try g.graph.apply(
                    MatrixProduct(transposeB: true, activation: .gelu), [g.real("x", [2, 4, 3]), g.real("w1", [5, 3])])
                return try g.graph.apply(ImageNorm(.response, epsilon: 1e-6), [hidden[0], g.real("gamma", [5]), g.real("beta", [5])])
            },
        ]

    static let norms: [PrimitiveCase] =
        [[3, 2, 7], [4, 9], [1, 1, 1]].map { shape in
            PrimitiveCase(name: "layer norm \(shape)") { g in
                let width = shape[shape.count - 1]
                let x = try g.real("x", shape)
                let outputs = try g.graph.apply(LayerNorm(epsilon: 1e-6), [x, g.real("gamma", [width]), g.real("beta", [width])])
                // x is used twice: a gradient is added inside the norm's.
                return try g.graph.apply(Add(), [outputs[0], x]) + outputs
            }
        }
        + [ImageNorm.Kind.group(1), .group(2), .group(6), .response].map { kind in
            PrimitiveCase(name: "image norm \(kind)") { g in
                try g.graph.apply(
                    ImageNorm(kind, epsilon: 1e-5), [g.real("x", [3, 5, 6]), g.real("gamma", [6]), g.real("beta", [6])])
            }
        }
        + [BatchNorm.Activation.none, .relu, .relu6].flatMap { activation in
            [(false, false), (false, true), (true, false), (true, true)].map { frozen, added in
                PrimitiveCase(name: "batch norm \(activation) frozen \(frozen) residual \(added)") { g in
                    let x = try g.real("x", [2, 5, 3])
                    let residual = added ? try g.real("residual", [2, 5, 3]) { 8 * $0 } : nil
                    let inputs = try [x, g.real("gamma", [3]) { 8 * $0 }, g.real("beta", [3]), residual]
                    let statistics =
                        frozen
                        ? try [
                            g.real("mean", [3], differentiated: false), g.real("variance", [3], differentiated: false) { 0.1 + $0 * $0 },
                        ] : []
                    return try g.graph.apply(BatchNorm(epsilon: 1e-5, activation: activation, frozen: frozen), inputs + statistics)
                }
            }
        } + [
            PrimitiveCase(name: "running statistics", differentiated: false) { g in
                let outputs = try g.graph.apply(BatchNorm(), [g.real("x", [2, 5, 3]), g.real("gamma", [3]), g.real("beta", [3])])
                try g.graph.apply(
                    RunningStatistics(rows: 10, momentum: 0.25), [g.real("mean", [3]), g.real("variance", [3]), outputs[1], outputs[2]])
                return outputs
            }
        ]

    static let attention: [PrimitiveCase] = [(1, 1, 1, 2), (2, 5, 3, 4), (1, 9, 2, 3)].map { batch, tokens, heads, width in
        PrimitiveCase(name: "attention \(batch) \(tokens) \(heads) \(width)") { g in
            try g.graph.apply(Attention(heads: heads), [g.real("qkv", [batch, tokens, 3 * heads * width])])
        }
    }

    /// Queries [2, 3, 4], keys and values [2, 5, 4]; of all keys, or of some, one and none.
    static let separateAttention: [PrimitiveCase] = [nil, [3, 5], [1, 0]].map { (lengths: [Int32]?) in
        PrimitiveCase(name: "scaled dot product attention \(lengths ?? [])") { g in
            let (q, k, v) = try (g.real("q", [2, 3, 4]), g.real("k", [2, 5, 4]), g.real("v", [2, 5, 4]))
            let limits = try lengths.map { try g.graph.constant(indices: $0) }
            return Array(try g.graph.apply(ScaledDotProductAttention(heads: 2), [q, k, v, limits]).prefix(1))
        }
    }

    static let attentionScores: [PrimitiveCase] = [(1, 1, 1, 2), (2, 5, 3, 4)].map { batch, tokens, heads, width in
        PrimitiveCase(name: "attention scores \(batch) \(tokens) \(heads) \(width)", differentiated: false) { g in
            try g.graph.apply(AttentionScores(heads: heads), [g.real("qkv", [batch, tokens, 3 * heads * width])])
        }
    }

    // MARK: Tokens

    /// x [2, 4, 3]; ids and table ids of four tokens, of each image or shared.
    static let tokens: [PrimitiveCase] =
        [0, 1, 2].flatMap { ids in
            [0, 1, 2, 3].flatMap { table in
                [false, true].map { fill in
                    PrimitiveCase(name: "gather ids \(ids) table \(table) fill \(fill)") { g in
                        let x = try g.real("x", [2, 4, 3])
                        let kept = try [
                            nil, g.indices("ids", [2, -1, 0, 4, 1], [5]),
                            g.indices("idsOfEach", [-1, 2, 0, 3, 1, 1, 0, -1, 2, 5], [2, 5]),
                        ][ids]
                        let places = try [
                            nil, nil, g.indices("table ids", [5, 1, 0, 4, 1], [5]),
                            g.indices("tableIdsOfEach", [0, 3, 1, 4, 2, 0, 2, 4, 4, 5], [2, 5]),
                        ][table]
                        return try g.graph.apply(
                            GatherTokens(),
                            [x, kept, fill ? g.real("fill", [3]) : nil, table > 0 ? g.real("table", [1, 6, 3]) : nil, places])
                    }
                }
            }
        }
        + [ExtractPatches.Order.channelsFirst, .channelsLast].flatMap { order in
            [0, 1, 2].flatMap { ids in
                [
                    PrimitiveCase(name: "extract patches \(order) ids \(ids)") { g in
                        try g.graph.apply(
                            ExtractPatches(geometry(), order: order), [g.real("images", [2, 2, 6, 4]), patchIds(g, ids)])
                    },
                    PrimitiveCase(name: "scatter patches \(order) ids \(ids)") { g in
                        let count = ids == 1 ? 3 : ids == 2 ? 2 : 4
                        return try g.graph.apply(
                            ScatterPatches(geometry(), order: order), [g.real("patches", [2, count, 12]), patchIds(g, ids)])
                    },
                ]
            }
        }
        + [
            PrimitiveCase(name: "mean over replicas", differentiated: false) { g in
                try g.graph.apply(ReplicaMean(), g.graph.apply(Scale(2), [g.real("x", [2, 3])]))
            },
            PrimitiveCase(name: "concatenated rows") { g in
                let (x, y) = (try g.real("x", [2, 3, 4]), try g.real("y", [1, 3, 4]))
                return try g.graph.apply(ConcatenateRows(), [x, y, x])
            },
            PrimitiveCase(name: "upsampling") { g in
                [try g.graph.upsampleNearest(g.real("x", [2, 6, 3]), height: 2, width: 3, factor: 3)]
            },
            PrimitiveCase(name: "nearest resize to odd sizes") { g in
                [try g.graph.resizeNearest(g.real("x", [2, 12, 3]), from: (4, 3), to: (7, 5))]
            },
            PrimitiveCase(name: "bilinear resize") { g in
                let x = try g.real("x", [2, 12, 3])
                let larger = try g.graph.apply(ResizeBilinear(from: (4, 3), to: (9, 6)), [x])[0]
                return [larger] + (try g.graph.apply(ResizeBilinear(from: (9, 6), to: (2, 5)), [larger]))
            },
            PrimitiveCase(name: "host operations", differentiated: false) { g in
                let images = g.input("images", TensorType([2, 2, 6, 4]), (0..<96).map { Double($0 * $0 % 11) })
                let cells = g.input("cells", TensorType([2, 2], .int32), [3, 0, 1, 2])
                let places = try g.graph.apply(CellPlaces(gridHeight: 2, gridWidth: 2, side: 2), [cells])
                return try g.graph.apply(Scale(2), g.graph.apply(HistogramsOfGradients(geometry()), [images])) + places
            },
        ]

    static func geometry() throws -> PatchGeometry {
        try PatchGeometry(channels: 2, height: 6, width: 4, patchHeight: 3, patchWidth: 2)
    }

    static func patchIds(_ g: CaseGraph, _ kind: Int) throws -> Value? {
        try [nil, g.indices("shared", [3, 0, 2], [3]), g.indices("ids", [3, 0, 1, 2], [2, 2])][kind]
    }

    // MARK: Losses and rows

    static let losses: [PrimitiveCase] =
        [0, 0.3, 2.0].map { beta in
            PrimitiveCase(name: "smooth L1 \(beta)") { g in
                try g.graph.apply(SmoothL1(beta: beta), [g.real("x", [3, 2, 5]), g.real("t", [30], differentiated: false)])
            }
        }
        + [0, 0.1].map { smoothing in
            PrimitiveCase(name: "cross entropy \(smoothing)") { g in
                try g.graph.apply(
                    SoftmaxCrossEntropy(smoothing: smoothing), [g.real("x", [2, 3, 4]), g.indices("labels", [3, 0, 1, 1, 2, 3], [6])])
            }
        }
        + [
            PrimitiveCase(name: "chamfer distance") { g in
                let b = try g.graph.apply(Reshape([2, 5, 3]), [g.real("b", [10, 3])])[0]
                return try g.graph.apply(ChamferDistance(), [g.real("a", [2, 4, 3]), b])
            },
            PrimitiveCase(name: "chamfer distance to a target") { g in
                try g.graph.apply(ChamferDistance(), [g.real("a", [2, 4, 3]), g.real("b", [2, 3, 3], differentiated: false)])
            },
            PrimitiveCase(name: "mean squared error") { g in
                try g.graph.apply(MeanSquaredError(), [g.real("p", [3, 5]), g.real("t", [15], differentiated: false)])
            },
            PrimitiveCase(name: "gelu alone") { g in try g.graph.apply(Gelu(), [g.real("x", [3, 5])]) },
            PrimitiveCase(name: "focal cross entropies") { g in
                let logits = try g.real("logits", [2, 3, 5]), labels = try g.indices("labels", [4, 0, 2, 1, 1, 3], [6])
                let weights = try g.real("weights", [6], differentiated: false)
                let plain = try g.graph.apply(FocalCrossEntropy(gamma: 0), [logits, labels])
                let sharp = try g.graph.apply(FocalCrossEntropy(gamma: 2), [logits, labels, weights])
                return try g.graph.apply(Add(), [plain[0], sharp[0]]) + [plain[1], sharp[1]]
            },
            PrimitiveCase(name: "dice losses") { g in
                let logits = try g.real("logits", [2, 3, 4]), labels = try g.indices("labels", [2, 0, 2, 1, 1, 0], [6])
                let weights = try g.real("weights", [6], differentiated: false) { $0 * $0 }
                let plain = try g.graph.apply(DiceLoss(), [logits, labels])
                let weighted = try g.graph.apply(DiceLoss(smooth: 0.5), [logits, labels, weights])
                return try g.graph.apply(Add(), [plain[0], weighted[0]]) + plain[1...] + weighted[1...]
            },
            PrimitiveCase(name: "soft target cross entropy") { g in
                let targets = try g.graph.apply(SoftmaxRows(), [g.real("scores", [3, 5], differentiated: false)])
                return try g.graph.apply(SoftTargetCrossEntropy(), [g.real("logits", [3, 5])] + targets) + targets
            },
            PrimitiveCase(name: "weighted cross entropies") { g in
                let weights = try g.real("weights", [3], differentiated: false), logits = try g.real("logits", [3, 5])
                let adjusted = try g.graph.apply(AddRow(), [logits, g.real("prior", [5], differentiated: false)])[0]
                let targets = try g.graph.apply(SoftmaxRows(), [g.real("scores", [3, 5], differentiated: false)])[0]
                let hard = try g.graph.apply(
                    SoftmaxCrossEntropy(smoothing: 0.1), [adjusted, g.indices("labels", [4, 0, 2], [3]), weights])
                let soft = try g.graph.apply(SoftTargetCrossEntropy(), [logits, targets, weights])
                return try g.graph.apply(Add(), [hard[0], soft[0]]) + [adjusted, hard[1], soft[1]]
            },
        ]

    static let rows: [PrimitiveCase] =
        [0, 1, 3].map { first in
            PrimitiveCase(name: "mean of tokens from \(first)") { g in
                try g.graph.apply(MeanTokens(first: first), [g.real("x", [2, 4, 3])])
            }
        }
        + [false, true].map { added in
            PrimitiveCase(name: "scale images, residual \(added)") { g in
                let x = try g.real("x", [3, 2, 5]), factors = try g.real("factors", [3], differentiated: false)
                return try g.graph.apply(ScaleImages(), [x, factors, added ? g.real("residual", [3, 2, 5]) : nil])
            }
        }
        + [
            PrimitiveCase(name: "sums and scales") { g in
                let x = try g.real("x", [3, 4])
                return try g.graph.apply(Add(), [g.graph.apply(Scale(0.7), [x])[0], x])
            },
            PrimitiveCase(name: "slice of rows") { g in
                try g.graph.apply(SliceRows(first: 1, count: 2), [g.real("x", [5, 3])])
            },
            PrimitiveCase(name: "montages, concatenated rows and accuracy", differentiated: false) { g in
                let images = try g.real("images", [3, 2, 8, 12])
                let tiles = try g.indices("tiles", [2, 0, 1, 1, 2, 2, 0, 1], [8])
                let small = try g.graph.apply(MontageImages(grid: 2), [images, tiles])[0]
                let tiny = try g.graph.apply(MontageImages(grid: 4), [images, g.indices("parts", (0..<16).map { $0 % 3 }, [16])])[0]
                let all = try g.graph.apply(ConcatenateRows(), [small, tiny, images])[0]
                let scores = try g.real("scores", [6, 5]) { ($0 * 2).rounded() }
                return try [all] + g.graph.apply(TopAccuracy(), [scores, g.indices("classes", [4, 0, 1, 2, 3, 1], [6])])
            },
            PrimitiveCase(name: "rows", differentiated: false) { g in
                let x = try g.real("x", [2, 3, 7]) { ($0 * 2).rounded() }
                return try g.graph.apply(StandardizeRows(), [x]) + g.graph.apply(SoftmaxRows(), [x]) + g.graph.apply(LargestOfRow(), [x])
                    + g.graph.apply(Norm(), [x])
            },
        ]
}
