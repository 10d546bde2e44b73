import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Training of masks of objects on a grid of cells (`InstanceHead`), from annotations that may be incomplete.
///
/// The loss is 4 L_o + L_m + L_f + ramp consistency L_c, over P positive cells of a batch:
/// - L_o: the sum over cells of the focal loss (alpha 0.25, gamma 2) over P + 1;
/// - L_m: the mean over positive cells of 3 dice (squares in the denominator) + binary cross entropy, against the object's share of each place;
/// - L_f: dice + binary cross entropy of the foreground F against the annotated objects, where there is that branch;
/// - L_c: dice + the mean of both cross entropies between F and the union G of the instances, the largest of score x mask over all cells. It
///   needs no annotation: it is of all images, others have no part in images all of whose pixels are ignored (the idea of Xue et al. 2022,
///   arXiv 2208.09023; the choices are this library's, see docs/dense.md).
///
/// Cells: that of the centre of mass, and those around it that a box of a fifth of the object's own meets; the smaller object has a cell that two
/// want. Each share of a batch (`devices`, `accumulation_steps`) takes means over its own.
public struct InstanceSegmentation: TrainingObjective {
    /// The image whose foreground the instances are to agree with.
    public enum Partner: String, CaseIterable, Sendable {
        case own, other
    }

    public let encoder: any ImageEncoder
    public let head: InstanceHead
    /// Id of pixels that are not known.
    public var ignored: Int32
    /// Most cells of an image that learn a mask; nil: all, at most 256.
    public var positiveCells: Int?
    /// Weight of L_c; 0: none.
    public var consistency = 0.0
    /// Share of the run before L_c enters, and after that until it has its full weight.
    public var warmup = 0.2
    public var partner = Partner.own
    public var frozenEncoder = false

    /// Inputs: what is wanted of each cell, [B, cells]; the cells that learn masks, [B, K]; their masks, [B K, places]; the foreground, [B, places];
    /// and the factors of their losses.
    public enum Input {
        public static let objectness = "cell_targets"
        public static let objectnessFactors = "cell_factors"
        public static let cells = "positive_cells"
        public static let masks = "mask_targets"
        public static let maskFactors = "mask_factors"
        public static let foreground = "foreground_targets"
        public static let foregroundFactors = "foreground_factors"
    }

    let grid: ImageSize
    let map: ImageSize

    /// Errors: those of the network.
    public init(_ encoder: any ImageEncoder, _ head: InstanceHead, ignored: Int32) throws {
        (self.encoder, self.head, self.ignored) = (encoder, head, ignored)
        let sizes = try head.sizes(on: encoder)
        grid = ImageSize(height: sizes.grid.rows, width: sizes.grid.columns)
        map = ImageSize(height: sizes.map.rows, width: sizes.map.columns)
    }

    var cells: Int { grid.height * grid.width }
    var places: Int { map.height * map.width }
    /// Rows of masks of an image.
    var most: Int { min(cells, positiveCells ?? Self.usualPositiveCells) }

    public var objectiveName: String { head.name }
    public var readsPixelTargets: Bool { true }

    public func trains(_ parameter: ParameterSpecification, of model: Model) -> Bool {
        !frozenEncoder || model.headNames.contains(parameter.name)
    }

    /// 0 until `warmup`, then on a straight line to 1 at twice that.
    public func lossRamp(fraction: Double) -> Double {
        warmup > 0 ? min(1, max(0, (fraction - warmup) / warmup)) : 1
    }

    public func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] {
        let graph = builder.graph
        let images = Inputs.images(graph, encoder.geometry, batch: batch)
        let answer = try head.answer(images, of: encoder, builder, encoderBuilder: frozenEncoder ? builder.frozen : nil)
        func input(_ name: String, _ shape: [Int]) -> Value { graph.input(name, TensorType(shape), filledBy: .loader) }
        let cells = [
            answer.objectness, input(Input.objectness, [batch, answer.cells]), input(Input.objectnessFactors, [batch]),
        ]
        let focal = BinaryCrossEntropy(positive: 0.25, negative: 0.75, gamma: 2)
        var losses = [Loss("objectness", try graph.apply(focal, cells)[0], weight: 4)]
        losses += try maskLosses(answer, builder, batch: batch, input)
        guard let foreground = answer.foreground else { return losses }
        let shares = try graph.apply(Sigmoid(), [foreground])[0]
        let wanted = [input(Input.foreground, [batch, answer.places]), input(Input.foregroundFactors, [batch])]
        let dice = try graph.apply(MapLoss(.dice, isTarget: true), [shares] + wanted)[0]
        losses.append(Loss("foreground", try graph.apply(Add(), [dice, graph.apply(BinaryCrossEntropy(), [foreground] + wanted)[0]])[0]))
        guard consistency > 0 else { return losses }
        let disagreement = try disagreement(answer, shares, graph, batch: batch)
        let ramped = try graph.apply(StepScale(), [disagreement, graph.scalar(.lossRamp)])[0]
        return losses + [Loss("consistency", ramped, weight: consistency)]
    }

    private func maskLosses(
        _ answer: InstanceHead.Answer, _ builder: NetworkBuilder, batch: Int, _ input: (String, [Int]) -> Value
    ) throws -> [Loss] {
        let graph = builder.graph
        let ids = graph.input(Input.cells, TensorType([batch, most], .int32), filledBy: .loader)
        let logits = try InstanceHead.masks(builder.gather(answer.kernels, ids: ids), answer.features, graph)
        let wanted = [input(Input.masks, [batch * most, answer.places]), input(Input.maskFactors, [batch * most])]
        let shares = try graph.apply(Sigmoid(), [logits])[0]
        return [
            Loss("mask_dice", try graph.apply(MapLoss(.squaredDice, isTarget: true), [shares] + wanted)[0], weight: 3),
            Loss("mask_entropy", try graph.apply(BinaryCrossEntropy(), [logits] + wanted)[0]),
        ]
    }

    static let usualPositiveCells = 256

    /// L_c between the union of the instances and the foreground, both [B, places].
    private func disagreement(_ answer: InstanceHead.Answer, _ foreground: Value, _ graph: Graph, batch: Int) throws -> Value {
        let masks = try graph.apply(Sigmoid(), [InstanceHead.masks(answer.kernels, answer.features, graph)])[0]
        let union = try graph.apply(MaximumOfRows(), [masks, graph.apply(Sigmoid(), [answer.objectness])[0]])[0]
        func half(_ a: Value, _ b: Value, isTarget: Bool = false) throws -> Value {
            try graph.apply(Scale(0.5), [graph.apply(MapLoss(.entropy, isTarget: isTarget), [a, b])[0]])[0]
        }
        guard partner == .own else {
            let rolled = try rolled(foreground, graph, batch: batch)
            return try graph.apply(
                Add(), [graph.apply(MapLoss(.dice, isTarget: true), [union, rolled])[0], half(union, rolled, isTarget: true)])[0]
        }
        let entropies = try graph.apply(Add(), [half(union, foreground), half(foreground, union)])[0]
        return try graph.apply(Add(), [graph.apply(MapLoss(.dice), [union, foreground])[0], entropies])[0]
    }

    /// Each image's foreground as that of the next one in the batch.
    private func rolled(_ foreground: Value, _ graph: Graph, batch: Int) throws -> Value {
        let shape = graph.shape(of: foreground)
        let rows = try graph.apply(Reshape([1] + shape), [foreground])[0]
        let ids = try graph.constant(indices: (0..<Int32(batch)).map { ($0 + Int32(batch) - 1) % Int32(batch) })
        return try graph.apply(Reshape(shape), [graph.apply(GatherTokens(), [rows, ids, nil, nil, nil])[0]])[0]
    }
}
