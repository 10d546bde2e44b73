import MRPEngine
import Testing

/// A layer of experts as networks build it, and its parts.
struct ExpertLayer {
    var tokens = 6
    var experts = 3
    var residual = true
    /// Rows that expert numbers are chosen for: tokens, images, or the tokens of each expert.
    var routing = Routing.token
    var gate = Gates.Kind.score

    enum Routing { case token, image, choice }

    /// Output, then the lists of the route and the gates. `real` makes the weights.
    func build(_ graph: Graph, _ real: (String, [Int]) throws -> Value) throws -> [Value] {
        let (batch, width, hidden) = (2, 4, 5)
        let x = try real("x", [batch, tokens, width])
        let seen = routing == .image ? try real("images", [batch, width]) : x
        let logits = try graph.apply(MatrixProduct(transposeB: true), [seen, real("gate", [experts, width])])[0]
        let scores = gate == .selected ? logits : try graph.apply(SoftmaxRows(), [logits])[0]
        let route =
            switch routing {
            case .token: try graph.routeToOne(scores)
            case .image: try graph.routeToOne(scores, tokens: tokens)
            case .choice: try graph.routeToMany(scores, capacity: 2, first: 1)
            }
        let gates = try graph.gates(gate, scores, route)
        func product(_ name: String, _ x: Value, _ shape: [Int], _ activation: MatrixProduct.Activation) throws -> Value {
            let weights = try (0..<experts).map { try real("\(name).\($0)", shape) }
            let biases = try (0..<experts).map { try real("\(name).\($0).bias", [shape[0]]) }
            let operation = ExpertProduct(experts: experts, activation: activation)
            return try graph.apply(operation, [x, route.offsets, nil] + weights + biases)[0]
        }
        let inner = try product("fc1", graph.dispatch(x, route), [hidden, width], .gelu)
        let rows = try product("fc2", inner, [width, hidden], .none)
        let output = try graph.combine(rows, route, gates: gates, shape: [batch, tokens], residual: residual ? x : nil)
        return [output, route.sources, route.places, route.offsets, gates]
    }

    static let all: [ExpertLayer] = [
        ExpertLayer(), ExpertLayer(experts: 7, residual: false, gate: .unit), ExpertLayer(routing: .image, gate: .unit),
        ExpertLayer(experts: 2, routing: .image), ExpertLayer(routing: .choice), ExpertLayer(routing: .choice, gate: .selected),
        ExpertLayer(experts: 1, residual: false, routing: .choice),
    ]
}

extension PrimitiveCase {
    static let experts: [PrimitiveCase] =
        ExpertLayer.all.map { layer in
            PrimitiveCase(name: "\(layer)") { g in try layer.build(g.graph) { try g.real($0, $1) } }
        } + [
            PrimitiveCase(name: "balance loss") { g in
                try g.graph.apply(BalanceLoss(), g.graph.apply(SoftmaxRows(), [g.real("z", [2, 3, 4])]))
            },
            PrimitiveCase(name: "entropy loss") { g in
                try g.graph.apply(EntropyLoss(), g.graph.apply(SoftmaxRows(), [g.real("z", [2, 3, 4])]))
            },
            PrimitiveCase(name: "expert product, gelu before a norm") { g in
                let offsets = try g.indices("offsets", [0, 3, 3, 5], [4])
                let weights = try (0..<3).map { try g.real("w\($0)", [6, 4]) as Value? }
                let inputs = try [g.real("x", [5, 4]), offsets, nil] + weights + [nil, nil, nil]
                let hidden = try g.graph.apply(ExpertProduct(experts: 3, activation: .gelu), inputs)
                return try g.graph.apply(LayerNorm(epsilon: 1e-6), [hidden[0], g.real("gamma", [6]), g.real("beta", [6])])
            },
        ]
}

extension GradientTests {
    /// Choices do not change under small steps. The unit gate is not its derivative's integral: PyTorch has it in `ExpertTests`.
    @Test(arguments: ExpertLayer.all.filter { $0.gate != .unit }) func expertLayer(_ layer: ExpertLayer) throws {
        var shapes: [String: [Int]] = [:]
        let outline = Graph()
        _ = try layer.build(outline) { name, shape in
            shapes[name] = shape
            return outline.bound(name, TensorType(shape))
        }
        try check(shapes) { graph, values in try layer.build(graph) { name, _ in try #require(values[name]) }[0] }
    }

    @Test func lossesOfRouters() throws {
        try check(["z": [5, 4]]) { graph, values in try graph.apply(BalanceLoss(), graph.apply(SoftmaxRows(), [values["z"]]))[0] }
        try check(["z": [5, 4]]) { graph, values in try graph.apply(EntropyLoss(), graph.apply(SoftmaxRows(), [values["z"]]))[0] }
    }
}
