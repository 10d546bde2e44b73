import Glibc
import MRPEngine
import MRPModels

/// Contrastive pretraining on montages (Guo et al. 2023, "Multi-Level Contrastive Learning for Dense Prediction Task", arXiv 2304.02010).
///
/// - Each image has several views. One level of the feature pyramid is trained for each scale: level 0 sees whole images at the coarsest map,
///   level i montages of 2^i x 2^i images, each as many times smaller, at the map that is finer by as much. So a tile always covers as many
///   positions as a whole image at level 0. The maps are cut into tiles before the head's convolutions.
/// - The target is what a moving average of encoder, pyramid and head (`Teacher`; its batch norms see their own batch) makes of the whole image in
///   another view.
/// - The loss of a level is InfoNCE: the cross entropy of the cosines of a tile's prediction with the targets of all images, divided by the
///   temperature, times 2 temperature; the levels' weights are 1, 1/2, 1/4, 1/4. A tile is never contrasted with a tile.
///
/// Two sides of views are targets for each other, or one for the other alone. All views of the sides go through the network as one batch.
/// With one level it is contrastive learning of whole images. Where devices or `accumulation_steps` share a batch, each part has montages and
/// targets of its own images only.
public struct Montage: TaughtObjective {
    public static let name = "montage"

    public enum Predictors: String, CaseIterable, Sendable {
        /// One for all levels: embeddings of tile and image agree.
        case shared
        /// One for each, as the authors have it: predictions agree, embeddings need not.
        case perLevel = "per_level"
    }

    public struct Form: Equatable, Sendable {
        public var levels = 1
        public var sides = 2
        public var temperature = 0.2
        public var predictors = Predictors.shared
        /// A control: tiles are told to be other images than they show.
        public var shufflesLabels = false

        public init() {}
    }

    public let encoder: any ConvolutionalEncoder
    public let head: MontageHead
    public let form: Form
    public let teacher: Teacher
    /// Whether it is the rest of an earlier run in a file: the teacher is made anew when a run begins.
    let isRest: Bool

    /// Errors: `.argument` where the images do not allow so many levels.
    public init(
        _ encoder: any ConvolutionalEncoder, _ head: MontageHead, _ form: Form, decay: Teacher.Decay, isRest: Bool = false
    ) throws {
        let most = Self.mostLevels(encoder)
        guard (1...most).contains(form.levels) else {
            let size = "\(encoder.geometry.height) x \(encoder.geometry.width)"
            throw MRPError(
                .argument,
                "montage_levels \(form.levels) is outside 1 ... \(most), which images of \(size) and \(encoder.depth) stages allow")
        }
        (self.encoder, self.head, self.form, self.isRest) = (encoder, head, form, isRest)
        teacher = Teacher(encoder, decay: decay, others: head.pyramid.parameters(on: encoder, coarsest: 1) + head.parameters())
    }

    /// Tiles must be whole positions of the maps that they are read from.
    static func mostLevels(_ encoder: any ConvolutionalEncoder) -> Int {
        let (geometry, unit) = (encoder.geometry, encoder.downsampling)
        let isWhole = geometry.height % unit == 0 && geometry.width % unit == 0
        return isWhole ? min(encoder.depth, MontageLayout.mostLevels) : 1
    }

    /// Half a cosine (Grill et al. 2020).
    public func emaDecay(fraction: Double) -> Double {
        let decay = teacher.decay
        return decay.end - (decay.end - decay.start) * (cos(.pi * min(max(fraction, 0), 1)) + 1) / 2
    }

    public var takesMasks: Bool { false }
    public var pyramid: FeaturePyramid? { head.pyramid }

    /// Level by level; of each, side by side. With one side the second view is the target's.
    public var views: TrainingViews {
        let first = form.sides == 1 ? [0, 1] : Array(0..<form.sides)
        return TrainingViews(bySide: first + (1..<form.levels).flatMap { _ in 0..<form.sides })
    }

    /// Predictor of a level.
    private func predictor(_ level: Int) -> Int { form.predictors == .shared ? 0 : level }

    public func keptParameters() -> [ParameterSpecification] {
        let predictors = (0...predictor(form.levels - 1)).flatMap(head.predictorParameters)
        // An encoder of stages has a pyramid.
        return head.pyramid.parameters(on: encoder, coarsest: encoder.depth) + head.parameters() + predictors
    }

    public func parameters() -> [ParameterSpecification] { keptParameters() + (isRest ? [] : teacher.parameters) }

    public func loss(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        try Loss.total(losses(builder, batch: batch), in: builder.graph)
    }

    public func losses(_ builder: NetworkBuilder, batch: Int) throws -> [Loss] {
        let (graph, sides, layout) = (builder.graph, form.sides, try MontageLayout(levels: form.levels, batch: batch))
        let images = Inputs.images(graph, encoder.geometry, batch: batch * views.count)
        let shown = try whole(images, first: 0, count: sides * batch, graph) + montages(images, layout, graph)
        let queries = try self.queries(shown, layout, builder)
        let targets = try self.targets(images, batch: batch, builder)
        return try (0..<form.levels).map { level in
            let labels = try (0..<sides).map { try self.labels(level, side: $0, layout, graph) }
            var (loss, accuracy): (Value?, Value?)
            for side in 0..<sides {
                let query = try part(queries[level], side, of: sides, graph)
                let logits = try graph.apply(MatrixProduct(transposeB: true), [query, targets[sides - 1 - side]])[0]
                let entropy = try graph.apply(SoftmaxCrossEntropy(), [logits, labels[side]])[0]
                let top = try graph.apply(TopAccuracy(), [logits, labels[side]])[0]
                loss = try loss.map { try graph.apply(Add(), [$0, entropy])[0] } ?? entropy
                accuracy = try accuracy.map { try graph.apply(Add(), [$0, top])[0] } ?? top
            }
            guard let loss, let accuracy else { throw MRPError(.internalError, "montages without sides") }
            let means = try [loss, accuracy].map { try graph.apply(Scale(1 / Double(sides)), [$0])[0] }
            builder.report(means[1], as: "top1_level_\(level)")
            // A trainer shows the terms of a sum by itself.
            if form.levels == 1 { builder.report(means[0], as: "loss_level_0") }
            return Loss("level_\(level)", means[0], weight: 2 * form.temperature / Double(1 << min(level, 2)))
        }
    }

    // MARK: Images

    private func whole(_ images: Value, first: Int, count: Int, _ graph: Graph) throws -> [Value] {
        count == graph.shape(of: images)[0] ? [images] : [try graph.apply(SliceRows(first: first, count: count), [images])[0]]
    }

    private func montages(_ images: Value, _ layout: MontageLayout, _ graph: Graph) throws -> [Value] {
        try (1..<form.levels).map { level in
            let tiles = graph.input(Self.tiles(level), TensorType([form.sides * layout.tiles(level)], .int32), filledBy: .masks)
            return try graph.apply(MontageImages(grid: 1 << level), [images, tiles])[0]
        }
    }

    /// Rows of the batch of views that the tiles of a level show, side by side: an input.
    static func tiles(_ level: Int) -> String { "montage_tiles.\(level)" }
    /// The image of each tile of a side: an input.
    static func labels(_ level: Int, side: Int) -> String { "montage_labels.\(level).\(side)" }

    private func labels(_ level: Int, side: Int, _ layout: MontageLayout, _ graph: Graph) throws -> Value {
        guard level > 0 else { return try graph.constant(indices: (0..<Int32(layout.batch)).map { $0 }) }
        return graph.input(Self.labels(level, side: side), TensorType([layout.tiles(level)], .int32), filledBy: .masks)
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        let layout = try MontageLayout(levels: form.levels, batch: step.batch)
        for level in 1..<form.levels {
            var rows: [Int32] = []
            for side in 0..<form.sides {
                let tiles = layout.images(level, draw: UInt32(side), step)
                // The first level has two views whatever the sides.
                let view = 2 + (level - 1) * form.sides + side
                rows += tiles.map { Int32(view * step.batch) + $0 }
                let labels = form.shufflesLabels ? layout.images(level, draw: UInt32(2 + side), step) : tiles
                try program.write(labels, to: Self.labels(level, side: side))
            }
            try program.write(rows, to: Self.tiles(level))
        }
        return true
    }

    // MARK: Networks

    /// Embeddings of images that lie level by level, a row for each tile.
    private func embeddings(_ images: [Value], _ stages: [FeatureMap], _ builder: NetworkBuilder) throws -> Value {
        let graph = builder.graph
        let maps = try head.pyramid.maps(ofParts: images.map { graph.shape(of: $0)[0] }, stages, builder)
        let cells = try maps.enumerated().map { try $1.cells(1 << $0, graph) }
        var all = cells[0]
        if cells.count > 1 { all.value = try graph.apply(ConcatenateRows(), cells.map(\.value))[0] }
        return try head.embeddings(all, builder)
    }

    /// Predictions of each level, of length 1 / temperature: [sides x tiles, width].
    private func queries(_ images: [Value], _ layout: MontageLayout, _ builder: NetworkBuilder) throws -> [Value] {
        let graph = builder.graph
        let batch = images.count > 1 ? try graph.apply(ConcatenateRows(), images)[0] : images[0]
        let stages = try encoder.stages(batch, last: encoder.depth, visible: nil, builder)
        try builder.watchFeatures(stages[stages.count - 1].images(0, layout.batch, graph).value, of: encoder)
        let embeddings = try self.embeddings(images, stages, builder)
        let shared = form.predictors == .shared ? try head.prediction(embeddings, 0, builder) : nil
        var first = 0
        return try (0..<form.levels).map { level in
            let count = form.sides * layout.tiles(level)
            defer { first += count }
            var rows = shared ?? embeddings
            if count < graph.type(of: rows).rows { rows = try graph.apply(SliceRows(first: first, count: count), [rows])[0] }
            if shared == nil { rows = try head.prediction(rows, level, builder) }
            return try graph.apply(Scale(1 / form.temperature), [graph.apply(UnitRows(), [rows])[0]])[0]
        }
    }

    /// Targets of each side, of length 1: [B, width]. With one side they are those of the second view.
    private func targets(_ images: Value, batch: Int, _ builder: NetworkBuilder) throws -> [Value] {
        let (graph, teacherBuilder, sides) = (builder.graph, builder.teacher(Teacher.prefix), form.sides)
        let shown = try whole(images, first: sides == 1 ? batch : 0, count: sides * batch, graph)
        let stages = try encoder.stages(shown[0], last: encoder.depth, visible: nil, teacherBuilder)
        let targets = try graph.apply(UnitRows(), [embeddings(shown, stages, teacherBuilder)])[0]
        return try (0..<sides).map { try part(targets, $0, of: sides, graph) }
    }

    /// One of `count` equal parts of the rows.
    private func part(_ x: Value, _ index: Int, of count: Int, _ graph: Graph) throws -> Value {
        let rows = graph.type(of: x).rows / count
        return count == 1 ? x : try graph.apply(SliceRows(first: index * rows, count: rows), [x])[0]
    }
}
