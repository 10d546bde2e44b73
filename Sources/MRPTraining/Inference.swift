import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// Features, class probabilities, evaluation and reconstructions of a trained model, over whole datasets.
public struct Inference {
    public enum Features: String, CaseIterable, Sendable { case mean, cls, tokens }

    public let model: Model
    let options: Options
    let cancel: UnsafePointer<Int32>?
    let poll: (() -> Void)?
    /// Whether images that cannot be read are left out, as option `unreadable_images` says; their rows are NaN.
    var skipsUnreadable: Bool
    /// The expert that all images go through; nil: as they are routed.
    var expert: Int?

    /// Results do not depend on the batch size; larger ones only take more memory.
    static let largestBatch = 64

    public init(
        _ model: Model, _ options: Options, cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil
    ) {
        self.model = model
        self.options = options
        self.cancel = cancel
        self.poll = poll
        skipsUnreadable = Pipeline.skipsUnreadable(options)
    }

    // MARK: Features

    /// Numbers per image that `encode` writes.
    public func featureCount() throws -> Int {
        let layer = options[FeatureOptions.layer]
        let depth = model.encoder.depth
        guard layer <= depth else { throw MRPError(.argument, "layer \(layer) is outside 0 ... \(depth)") }
        let shape = model.encoder.featureShape(layer: layer == 0 ? nil : layer)
        switch options[FeatureOptions.features] {
        case .mean: return shape.width
        case .cls:
            guard model.encoder.hasClassToken else { throw MRPError(.argument, "features cls: the encoder has no class token") }
            return shape.width
        case .tokens: return shape.tokens * shape.width
        }
    }

    /// Writes `featureCount` numbers per image: the output of block `layer` (0: the last, after the final norm), as the mean
    /// over patches, the class token, or all tokens. Returns false when it was cancelled.
    ///
    /// `view`: the images as fine-tuning augments them in this epoch; nil: as evaluation takes them.
    public func encode(_ dataset: ImageDataset, view: Int? = nil, into output: UnsafeMutableBufferPointer<Float>) throws -> Bool {
        let count = try featureCount()
        return try run(dataset, view: view) {
            try features($0, batch: $1)
        } collect: {
            $1.copy($0, each: count, to: output, first: $2)
        }
    }

    /// The features that the options ask for, appended to the graph. Errors: `.argument` when the encoder has none such.
    func features(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        _ = try featureCount()
        let layer = options[FeatureOptions.layer]
        let images = Inputs.images(builder.graph, model.encoder.geometry, batch: batch)
        let tokens = try model.encoder.features(images, layer: layer == 0 ? nil : layer, pooling: model.head?.featurePooling, builder)
        switch options[FeatureOptions.features] {
        case .mean: return try model.encoder.pooled(tokens, builder)
        case .cls: return try builder.gather(tokens, ids: builder.graph.constant(indices: [0]))
        case .tokens: return tokens
        }
    }

    // MARK: Attention

    /// Heads and tokens of the attention that the option `layer` names (0: the last). Errors: `.argument` when there is none.
    public func attentionShape() throws -> (heads: Int, tokens: Int) {
        let (layer, encoder) = (options[FeatureOptions.layer], model.encoder)
        guard layer <= encoder.depth else { throw MRPError(.argument, "layer \(layer) is outside 0 ... \(encoder.depth)") }
        guard let shape = encoder.attentionShape(layer: layer == 0 ? encoder.depth : layer) else {
            throw MRPError(.argument, "the encoder, a \(encoder.family.name), has no attention")
        }
        return shape
    }

    /// Writes the attention of a block, [heads, tokens, tokens] per image: softmax(q k^T / sqrt(d)), each row adds up to 1. Returns false when
    /// it was cancelled. Errors as `attentionShape`.
    public func attention(_ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<Float>) throws -> Bool {
        let (heads, tokens) = try attentionShape()
        let (layer, count) = (options[FeatureOptions.layer], heads * tokens * tokens)
        return try run(dataset, largestBatch: 8) { builder, batch in
            let images = Inputs.images(builder.graph, model.encoder.geometry, batch: batch)
            return try model.encoder.attention(images, layer: layer == 0 ? model.encoder.depth : layer, builder)
        } collect: {
            $1.copy($0, each: count, to: output, first: $2)
        }
    }

    // MARK: Classification

    /// The model's classifier. Errors: `.state` when it has none.
    public func classifier() throws -> any Head {
        guard let head = model.head else { throw MRPError(.state, "the model has no classifier head: fine-tune it first") }
        guard !head.isDense else {
            throw MRPError(.state, "the model's head is \(head.name), which answers for pixels and not for images")
        }
        return head
    }

    func outputs(of head: any Head, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        try head.outputs(Inputs.images(builder.graph, model.encoder.geometry, batch: batch), of: model.encoder, builder)
    }

    /// The classifier's answer at the level of option `label_level`; nil: with its own classes.
    func level() throws -> LevelScores? { try LevelScores(model, classifier(), options) }

    /// Classes that `predict` and the confusion matrix know: the model's outputs, or those of option `label_level`. Errors: `.argument` when the
    /// model has no such level, `.state` without a classifier.
    public func classCount() throws -> Int {
        try level()?.names.count ?? classifier().classes
    }

    /// Writes class probabilities, [count, classCount]. Returns false when it was cancelled.
    public func predict(_ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<Float>) throws -> Bool {
        let head = try classifier()
        let classes = head.classes
        if let level = try self.level() { return try predict(dataset, head, at: level, into: output) }
        return try run(dataset) { builder, batch in
            try builder.graph.apply(SoftmaxRows(), [scores(builder, batch: batch)])[0]
        } collect: {
            $1.copy($0, each: classes, to: output, first: $2)
        }
    }

    private func predict(
        _ dataset: ImageDataset, _ head: any Head, at level: LevelScores, into output: UnsafeMutableBufferPointer<Float>
    ) throws -> Bool {
        let (outputs, classes) = (head.classes, level.names.count)
        var shares: [Float] = []
        return try run(dataset) { builder, batch in
            try scores(builder, batch: batch)
        } collect: { logits, batch, first in
            for image in 0..<batch.count {
                level.probabilities(UnsafeBufferPointer(rebasing: logits[image * outputs..<(image + 1) * outputs]), &shares)
                if !batch.holds(image, first: first) { shares = shares.map { _ in .nan } }
                for place in 0..<classes { output[(first + image) * classes + place] = shares[place] }
            }
        }
    }

    public struct Evaluation: Sendable {
        /// Share of images whose largest score is that of their label, and for which it is among the five largest.
        public var top1 = 0.0
        public var top5 = 0.0
        /// Mean cross entropy without smoothing.
        public var loss = 0.0
        public let classes: Int
        fileprivate let counts: Tallies

        init(classes: Int) throws {
            self.classes = classes
            counts = try Tallies(classes * classes)
        }

        /// Number of images of class t that were taken for class p, at place t classes + p. Valid as long as the evaluation.
        public var confusion: UnsafeBufferPointer<Int64> { UnsafeBufferPointer(counts.values) }

        func count(_ label: Int, takenFor guess: Int) { counts.values[label * classes + guess] += 1 }

        /// Share of the images of each class that were recognised; NaN for a class without images.
        public var classAccuracies: [Double] {
            (0..<classes).map { label in
                let row = confusion[label * classes..<(label + 1) * classes]
                return Double(row[row.startIndex + label]) / Double(row.reduce(0, +))
            }
        }

        /// The mean of the class accuracies, over the classes that have images.
        public var balancedTop1: Double {
            let known = classAccuracies.filter { !$0.isNaN }
            return known.reduce(0, +) / Double(known.count)
        }
    }

    /// Numbers of images, zero at first.
    fileprivate final class Tallies: @unchecked Sendable {
        private let memory: Memory
        init(_ count: Int) throws {
            memory = try Memory(count, elementBytes: 8, zeroed: true, for: "the counts of \(count) pairs of classes")
        }
        var values: UnsafeMutableBufferPointer<Int64> { memory.typed(Int64.self) }
    }

    /// Classes up to which a confusion matrix is counted.
    public static let mostConfusedClasses = 4_096

    /// The classes of labelled images as places in the model's list, both at the level of option `label_level`. Errors: those of `ClassMatch` and
    /// `LabelLevel`, `.state` without a classifier.
    func classMatch(_ dataset: ImageDataset) throws -> ClassMatch {
        let level = try self.level()
        return try classMatch(options.atLevel(dataset), level)
    }

    /// The same of classes that are at the level already.
    private func classMatch(_ dataset: ImageDataset, _ level: LevelScores?) throws -> ClassMatch {
        try ClassMatch(
            dataset, known: level?.names ?? model.classNames, count: level?.names.count ?? classifier().classes, owner: "the model")
    }

    /// Accuracy and loss on a labelled dataset; nil when it was cancelled. Classes are matched by their names. Images of classes that the
    /// model does not know count as wrong; they have no part in the loss and in the confusion matrix.
    ///
    /// `match`: the classes, where they are matched already, and what is to be said about it was said. `confuses`: whether pairs of classes are
    /// counted, which is done up to `mostConfusedClasses`.
    public func evaluate(_ dataset: ImageDataset, match given: ClassMatch? = nil, confuses: Bool = false) throws -> Evaluation? {
        guard dataset.labels != nil else { throw MRPError(.argument, "evaluation needs labels, the dataset has none") }
        let (dataset, head) = (try options.atLevel(dataset), try classifier())
        let level = try self.level()
        let match = try given ?? classMatch(dataset, level)
        if given == nil, let warning = match.warning { Log.warning(warning) }
        let (width, classes) = (head.classes, level?.names.count ?? head.classes)
        // Outputs without a name stand for no class: none is taken for one.
        let named = model.classNames.isEmpty || level != nil ? classes : min(classes, model.classNames.count)
        var levelScores: [Float] = []
        // Beyond the limit the counts are left out; the shares are not.
        var result = try Evaluation(classes: confuses && classes <= Self.mostConfusedClasses ? classes : 0)
        var (correct, close, loss, known, read) = (0, 0, 0.0, 0, 0)
        let finished = try run(dataset) { builder, batch in
            try scores(builder, batch: batch)
        } collect: { logits, batch, first in
            for image in 0..<batch.count where batch.holds(image, first: first) {
                read += 1
                let outputs = UnsafeBufferPointer(rebasing: logits[image * width..<(image + 1) * width])
                guard let label = match.places[Int(batch.labels[image])] else { continue }
                known += 1
                func count(_ row: UnsafeBufferPointer<Float>) {
                    let scores = UnsafeBufferPointer(rebasing: row[..<named])
                    let guess = scores.largestPlace
                    if guess == label { correct += 1 }
                    // Of equal scores the first class comes first, as in top1.
                    let before = scores.indices.count { scores[$0] > scores[label] || (scores[$0] == scores[label] && $0 < label) }
                    if before < 5 { close += 1 }
                    if result.classes > 0 { result.count(label, takenFor: guess) }
                    let largest = row[row.largestPlace]
                    let sum = row.reduce(0.0) { $0 + exp(Double($1 - largest)) }
                    loss += log(sum) + Double(largest - row[label])
                }
                guard let level else {
                    count(outputs)
                    continue
                }
                level.scores(outputs, &levelScores)
                levelScores.withUnsafeBufferPointer(count)
            }
        }
        guard finished else { return nil }
        result.top1 = Double(correct) / Double(read)
        result.top5 = Double(close) / Double(read)
        result.loss = loss / Double(known)
        return result
    }

    // MARK: The loop

    /// Runs a graph over a dataset in order; `whole`: all of each image, not its centre. The last batch may be smaller; its unused rows are computed and ignored.
    func run(
        _ dataset: ImageDataset, view: Int? = nil, largestBatch: Int = Self.largestBatch, whole: Bool = false,
        build: (NetworkBuilder, Int) throws -> Value, prepare: ((any Program, Batch, Int) throws -> Void)? = nil,
        collect: (UnsafeBufferPointer<Float>, Batch, Int) throws -> Void
    ) throws -> Bool {
        try run(
            dataset, view: view, largestBatch: largestBatch, whole: whole, as: Float.self, build: build, prepare: prepare, collect: collect)
    }

    /// The same for an output of elements of another type.
    func run<Element>(
        _ dataset: ImageDataset, view: Int? = nil, largestBatch: Int = Self.largestBatch, whole: Bool = false, as element: Element.Type,
        build: (NetworkBuilder, Int) throws -> Value, prepare: ((any Program, Batch, Int) throws -> Void)? = nil,
        collect: (UnsafeBufferPointer<Element>, Batch, Int) throws -> Void
    ) throws -> Bool {
        try runAll(
            dataset, view: view, largestBatch: largestBatch, whole: whole, as: element, build: { [try build($0, $1)] }, prepare: prepare,
            collect: { try collect($0[0], $1, $2) })
    }

    /// The same for several outputs.
    func runAll<Element>(
        _ dataset: ImageDataset, view: Int? = nil, largestBatch: Int = Self.largestBatch, whole: Bool = false, as element: Element.Type,
        build: (NetworkBuilder, Int) throws -> [Value], prepare: ((any Program, Batch, Int) throws -> Void)? = nil,
        collect: ([UnsafeBufferPointer<Element>], Batch, Int) throws -> Void
    ) throws -> Bool {
        try check(dataset)
        let batch = min(largestBatch, dataset.count)
        let loader = try Pipeline.evaluationLoader(
            dataset, model, options, batch: batch, view: view, skipsUnreadable: skipsUnreadable, whole: whole)
        let compiled = try compile(batch: batch, build)
        guard try run(compiled, over: loader, as: element, prepare: prepare, collect: collect) else { return false }
        Self.tell(loader.unreadable, of: dataset.count)
        return true
    }

    /// Errors: `.argument` when the images do not fit the model.
    func check(_ dataset: ImageDataset) throws {
        try Pipeline.check(dataset, fits: model)
        try Pipeline.checkPixels(dataset, model, options)
    }

    /// A graph for batches of one size, ready to run.
    struct Compiled {
        let batch: Int
        fileprivate let program: any Program
        fileprivate let outputs: [Value]
    }

    func compile(batch: Int, _ build: (NetworkBuilder, Int) throws -> [Value]) throws -> Compiled {
        let graph = Graph()
        let outputs = try build(model.builder(graph, mixture: MixtureContext(expert: expert)), batch)
        let program = try options.backend().compile(graph, outputs: outputs, state: model.parameters.tensors)
        return Compiled(batch: batch, program: program, outputs: outputs)
    }

    /// Runs it over what a loader brings, in order. Returns false when it was cancelled.
    func run<Element>(
        _ compiled: Compiled, over loader: BatchLoader, as element: Element.Type,
        prepare: ((any Program, Batch, Int) throws -> Void)? = nil,
        collect: ([UnsafeBufferPointer<Element>], Batch, Int) throws -> Void
    ) throws -> Bool {
        let size = model.encoder.geometry.imageShape.reduce(1, *)
        let heartbeat = poll.map { Heartbeat($0) }
        var first = 0
        while true {
            switch try loader.next(cancel: cancel) {
            case .end: return true
            case .cancelled: return false
            case .batch(let data):
                try compiled.program.write(UnsafeBufferPointer(start: data.images, count: data.count * size), to: Inputs.imagesName)
                try prepare?(compiled.program, data, first)
                guard try compiled.program.run(cancel: cancel, poll: heartbeat?.beat) else { return false }
                try Self.withOutputs(of: compiled.program, compiled.outputs[...]) { try collect($0, data, first) }
                first += data.count
            }
        }
    }

    /// Gives the body all outputs at once.
    private static func withOutputs<Element>(
        of program: any Program, _ outputs: ArraySlice<Value>, known: [UnsafeBufferPointer<Element>] = [],
        _ body: ([UnsafeBufferPointer<Element>]) throws -> Void
    ) throws {
        guard let first = outputs.first else { return try body(known) }
        try program.withOutput(first, as: Element.self) { try withOutputs(of: program, outputs.dropFirst(), known: known + [$0], body) }
    }

    static func tell(_ unreadable: [Int: String], of count: Int) {
        guard let first = unreadable.min(by: { $0.key < $1.key }) else { return }
        let numbers = unreadable.keys.sorted().prefix(8).map(String.init).joined(separator: ", ") + (unreadable.count > 8 ? ", ..." : "")
        Log.warning("\(unreadable.count) of \(count) images cannot be read and are left out (numbers \(numbers)): \(first.value)")
    }
}

extension Batch {
    /// Whether place `image` holds image number `first` + `image`, and not another one instead of one that cannot be read.
    func holds(_ image: Int, first: Int) -> Bool { indices[image] == Int64(first + image) }

    /// Writes the rows of this batch, of `count` numbers each, behind those of the images before it: NaN for one that cannot be read.
    func copy(_ rows: UnsafeBufferPointer<Float>, each count: Int, to output: UnsafeMutableBufferPointer<Float>, first: Int) {
        guard let source = rows.baseAddress, let target = output.baseAddress.map({ $0 + first * count }) else { return }
        target.update(from: source, count: self.count * count)
        for image in 0..<self.count where !holds(image, first: first) { (target + image * count).update(repeating: .nan, count: count) }
    }
}
