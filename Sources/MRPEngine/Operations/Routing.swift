import CMRPKernels

/// A choice of experts, made by `RouteToOne` or `RouteToMany`: what the operations on routed rows read.
public struct Route {
    /// Row of the tokens for each routed row, int32 [N]; routed rows are sorted by expert.
    public let sources: Value
    /// The routed rows that each row of the tokens became, int32 [rows, ways]: -1 where there is none.
    public let places: Value
    /// Expert e has the routed rows offsets[e] ..< offsets[e + 1], int32 [E + 1].
    public let offsets: Value
    /// Rows of the scores to one row of them stand for so many rows of tokens.
    public let tokens: Int
    /// Routed rows that an expert took from one image together; 1 where there are no such groups.
    public let group: Int
}

extension Graph {
    /// Sends each row of the scores [R, E] to the expert of its largest score, with the `tokens` rows of tokens that it stands for.
    public func routeToOne(_ scores: Value, tokens: Int = 1) throws -> Route {
        let outputs = try apply(RouteToOne(tokens: tokens), [scores])
        return Route(sources: outputs[0], places: outputs[1], offsets: outputs[2], tokens: tokens, group: 1)
    }

    /// Lets each expert take the `capacity` tokens of each image that score best for it; scores [B, T, E].
    public func routeToMany(_ scores: Value, capacity: Int, first: Int = 0) throws -> Route {
        let outputs = try apply(RouteToMany(capacity: capacity, first: first), [scores])
        return Route(sources: outputs[0], places: outputs[1], offsets: outputs[2], tokens: 1, group: capacity)
    }

    /// The factor of each routed row [N]; scores are those of the choice.
    public func gates(_ kind: Gates.Kind, _ scores: Value, _ route: Route) throws -> Value {
        try apply(Gates(kind: kind, tokens: route.tokens, group: route.group), [scores, route.sources, route.offsets])[0]
    }
}

/// Top-1 routing: each row to the expert of its largest score, of equal ones the first. The order within an expert stays (a stable counting
/// sort), so that the same scores give the same bits. No gradient passes through the choice: it passes through `Gates`.
///
/// Input: scores [R, E]. Outputs: sources [R tokens], places [R tokens, 1], offsets [E + 1].
struct RouteToOne: Operation {
    let tokens: Int

    var name: String { "route to one expert" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let scores = inputs.first ?? nil, scores.width >= 1, tokens >= 1, scores.rows * tokens <= Int(Int32.max) else {
            throw shapeError(name, "scores must be [rows, experts]")
        }
        let count = scores.rows * tokens
        return [TensorType([count], .int32), TensorType([count, 1], .int32), TensorType([scores.width + 1], .int32)]
    }

    func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] { node.noGradients }

    func kernel(_ call: KernelCall) -> Kernel {
        let (rows, experts, tokens) = (Int64(call.type(0).rows), Int64(call.type(0).width), Int64(self.tokens))
        let (pool, run, scores) = (call.pool, call.kernels.route_to_one, call.input(0))
        let lists = call.outputs.map { $0?.assumingMemoryBound(to: Int32.self) }
        return Kernel { run(pool, rows, experts, tokens, scores, lists[0], lists[1], lists[2]) }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let scores = try inputs.at(0).matrix()
        let (rows, experts, real) = (scores.rows, scores.width, scores.element)
        let largest = try scores .== scores.max([1], keep: true)
        let chosen = try largest.choose(program.iota(experts), Double(experts - 1)).reduce(.minimum, [1])
        let isChosen = try chosen.isOne(of: experts).converted(to: real)
        let before = try isChosen.sumOfRowsBefore()
        let isLower = try (program.iota(experts).reshape([1, experts]) .< program.iota(experts + 1).reshape([experts + 1, 1]))
            .converted(to: real)
        let offsets = try (isLower * isChosen.sum([0]).reshape([1, experts])).sum([1])
        let place = try (isChosen * (before + offsets.slice(0, 0..<experts).reshape([1, experts]))).sum([1])
        let numbers = try program.iota(rows).converted(to: real).reshape([rows, 1])
        let source = try program.apply(.scatterAdd(rows: rows), [numbers, place.converted(to: .i32)])
        let token = try program.iota(tokens).reshape([1, tokens])
        func allTokens(_ numbers: PrimitiveValue) throws -> PrimitiveValue {
            try (numbers.converted(to: .i32).reshape([rows, 1]) * Double(tokens) + token).reshape([rows * tokens])
        }
        return try [
            allTokens(source), allTokens(place).reshape([rows * tokens, 1]), offsets.converted(to: .i32) * Double(tokens),
        ]
    }
}

/// Expert choice (Zhou et al. 2022; patch-level routing of Chowdhury et al. 2023): of each image every expert takes the `capacity` tokens
/// from `first` on with the largest scores, of equal ones the first. No gradient passes through the choice.
///
/// Input: scores [B, T, E]. Outputs: sources [E B capacity], places [B T, E], offsets [E + 1].
struct RouteToMany: Operation {
    let capacity: Int
    let first: Int

    var name: String { "route to many experts" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let scores = inputs.first ?? nil, scores.shape.count == 3, first >= 0, capacity >= 1, first + capacity <= scores.shape[1],
            scores.count <= Int(Int32.max)
        else { throw shapeError(name, "scores must be [batch, tokens, experts] with at least \(first + capacity) tokens") }
        let (rows, experts) = (scores.rows, scores.width)
        return [
            TensorType([experts * scores.shape[0] * capacity], .int32), TensorType([rows, experts], .int32),
            TensorType([experts + 1], .int32),
        ]
    }

    func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] { node.noGradients }

    func kernel(_ call: KernelCall) -> Kernel {
        let shape = call.type(0).shape.map(Int64.init)
        let (batch, tokens, experts, first, capacity) = (shape[0], shape[1], shape[2], Int64(self.first), Int64(self.capacity))
        let (pool, run, scores) = (call.pool, call.kernels.route_to_many, call.input(0))
        let lists = call.outputs.map { $0?.assumingMemoryBound(to: Int32.self) }
        return Kernel(scratch: call.kernels.route_to_many_scratch(capacity)) {
            run(pool, batch, tokens, experts, first, capacity, scores, lists[0], lists[1], lists[2])
        }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let scores = try inputs.at(0)
        let (batch, tokens, experts) = (scores.shape[0], scores.shape[1], scores.shape[2])
        let candidates = try scores.slice(1, first..<tokens)
        let count = tokens - first
        // Rank of each token among the others: how many come before it.
        let (own, other) = try (candidates.reshape([batch, count, 1, experts]), candidates.reshape([batch, 1, count, experts]))
        let isEarlier = try program.iota(count).reshape([1, count, 1]) .< program.iota(count).reshape([count, 1, 1])
        let comesBefore = try (other .> own) .| ((other .== own) .& isEarlier.reshape([1, count, count, 1]))
        let rank = try comesBefore.converted(to: scores.element).sum([2])
        let isTaken = try (rank .< Double(capacity)).converted(to: scores.element)
        let earlier = try isEarlier.reshape([count, count]).converted(to: scores.element)
        let before = try earlier.dot(isTaken.transpose([1, 0, 2]).reshape([count, batch * experts]), contracting: (1, 0))
            .reshape([count, batch, experts]).transpose([1, 0, 2]).converted(to: .i32)
        let list = try program.iota(experts).reshape([1, experts]) * Double(batch) + program.iota(batch).reshape([batch, 1])
        let place = try (isTaken .> 0).choose(before + list.reshape([batch, 1, experts]) * Double(capacity), -1)
            .pad([1: PrimitivePadding(low: first)], -1)
        let total = experts * batch * capacity
        let row = try program.iota(batch * tokens).converted(to: scores.element).reshape([batch * tokens, 1])
            .broadcast(to: [batch * tokens, experts]).reshape([batch * tokens * experts, 1])
        let sources = try program.apply(.scatterAdd(rows: total), [row, place.reshape([place.type.count])])
        return try [
            sources.reshape([total]).converted(to: .i32), place.reshape([batch * tokens, experts]),
            program.iota(experts + 1) * Double(batch * capacity),
        ]
    }
}

/// The factor of each routed row, from the score that sent it there.
///
/// Inputs: scores [.., E], sources [N], offsets [E + 1]. Output: gates [N].
public struct Gates: Operation {
    public enum Kind: String, CaseIterable, Sendable {
        /// 1, with the gradient of s / stop(s): an expert's output is used as it is, and the router still learns (straight through).
        case unit
        /// The score s itself: a probability (Shazeer et al. 2017).
        case score = "probability"
        /// softmax over the scores of the rows that an expert took from one image (Chowdhury et al. 2023).
        case selected
    }

    let kind: Kind
    let tokens: Int
    let group: Int

    public var name: String { "gates" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard inputs.count == 3, let scores = inputs[0], let sources = inputs[1], inputs[2]?.count == scores.width + 1, group >= 1,
            sources.count % group == 0
        else { throw shapeError(name, "needs scores and the lists of a route") }
        return [TensorType([sources.count])]
    }

    public func inputGradients(_ node: DifferentiatedNode, _ outputGradients: [Value?], in graph: Graph) throws -> [Value?] {
        guard let gradient = outputGradients[0], let scores = node.inputs[0], node.wanted[0] else { return node.noGradients }
        let operation = GatesGradient(forward: self, scores: graph.type(of: scores))
        return node.gradients([try graph.apply(operation, node.inputs + [node.outputs[0], gradient])[0]])
    }

    func problem(_ call: KernelCall) -> mk_gates {
        let codes: [Kind: Int] = [.unit: MK_GATE_UNIT, .score: MK_GATE_SCORE, .selected: MK_GATE_SELECTED]
        let scores = call.type(0)
        return mk_gates(
            rows: Int64(scores.rows), experts: Int64(scores.width), tokens: Int64(tokens), count: Int64(call.type(1).count),
            group: Int64(group), kind: Int32(codes[kind] ?? 0), scores: call.input(0), sources: call.indices(1), offsets: call.indices(2))
    }

    public func kernel(_ call: KernelCall) -> Kernel {
        let (problem, pool, run, output) = (problem(call), call.pool, call.kernels.gates, call.outputs[0])
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0, output) } }
    }

    public func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let place = try places(inputs, program)
        switch kind {
        case .unit: return [try program.constant(1, place.shape, inputs.at(0).element)]
        case .score: return [try chosen(inputs, place, program)]
        case .selected:
            let scores = try chosen(inputs, place, program).reshape([place.type.count / group, group])
            return [try scores.softmax().probabilities.reshape(place.shape)]
        }
    }

    /// Place of each routed row's score among all scores, one row of them for each row of tokens.
    func places(_ inputs: [PrimitiveValue?], _ program: PrimitiveBuilder) throws -> PrimitiveValue {
        let (sources, experts) = (try inputs.at(1), try inputs.at(0).width)
        return try sources * Double(experts) + inputs.at(2).expertOfRow(sources.type.count)
    }

    func chosen(_ inputs: [PrimitiveValue?], _ place: PrimitiveValue, _ program: PrimitiveBuilder) throws -> PrimitiveValue {
        let scores = try inputs.at(0)
        let all = try scores.reshape([scores.rows, 1, scores.width]).broadcast(to: [scores.rows, tokens, scores.width])
        return try program.apply(.gather(dimension: 0), [all.reshape([all.type.count]), place])
    }
}

/// Inputs: scores, sources, offsets, gates, their gradient. Output: dscores.
struct GatesGradient: Operation {
    let forward: Gates
    let scores: TensorType

    var name: String { "gates gradient" }

    func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] { [scores] }

    func kernel(_ call: KernelCall) -> Kernel {
        let (problem, pool, run) = (forward.problem(call), call.pool, call.kernels.gates_gradient)
        let (gates, gradient, output) = (call.input(3), call.input(4), call.outputs[0])
        return Kernel { withUnsafePointer(to: problem) { run(pool, $0, gates, gradient, output) } }
    }

    func lowered(_ inputs: [PrimitiveValue?], in program: PrimitiveBuilder) throws -> [PrimitiveValue] {
        let place = try forward.places(inputs, program)
        var gradient = try inputs.at(4)
        switch forward.kind {
        case .unit: gradient = try gradient / forward.chosen(inputs, place, program)
        case .score: break
        case .selected:
            let shape = [place.type.count / forward.group, forward.group]
            let (gates, given) = try (inputs.at(3).reshape(shape), gradient.reshape(shape))
            gradient = try (gates * (given - (gates * given).sum([1], keep: true))).reshape(place.shape)
        }
        let (rows, tokens) = (scores.rows, forward.tokens)
        let spread = try program.apply(.scatterAdd(rows: scores.count * tokens), [gradient.reshape([place.type.count, 1]), place])
        return [try spread.reshape([rows, tokens, scores.width]).sum([1]).reshape(scores.shape)]
    }
}

extension PrimitiveValue {
    /// Of offsets [E + 1]: the expert of each of `count` routed rows, i32.
    func expertOfRow(_ count: Int) throws -> PrimitiveValue {
        let experts = type.count - 1
        let bounds = try slice(0, 1..<(experts + 1)).reshape([1, experts])
        // One more expert for each end that the row has passed.
        return try (bounds .> program.iota(count).reshape([count, 1])).choose(program.constant(0, [count, experts], .i32), 1).sum([1])
    }

    /// For each row [R, E] the sum of those before it: 0 in the first.
    func sumOfRowsBefore() throws -> PrimitiveValue {
        let (rows, columns) = (shape[0], shape[1])
        let window = PrimitiveWindow(rows, low: rows)
        return try reshape([1, rows, 1, columns]).reduceWindow(.sum, window, PrimitiveWindow(1)).slice(1, 0..<rows).reshape([rows, columns])
    }
}
