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

    /// Results do not depend on the batch size; larger ones only take more memory.
    static let largestBatch = 64

    public init(
        _ model: Model, _ options: Options, cancel: UnsafePointer<Int32>? = nil, poll: (() -> Void)? = nil
    ) {
        self.model = model
        self.options = options
        self.cancel = cancel
        self.poll = poll
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
        } collect: { features, batch, first in
            guard let source = features.baseAddress else { return }
            output.baseAddress.map { ($0 + first * count).update(from: source, count: batch.count * count) }
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
        } collect: { attention, batch, first in
            guard let source = attention.baseAddress else { return }
            output.baseAddress.map { ($0 + first * count).update(from: source, count: batch.count * count) }
        }
    }

    // MARK: Classification

    /// The model's classifier. Errors: `.state` when it has none.
    public func classifier() throws -> any Head {
        guard let head = model.head else { throw MRPError(.state, "the model has no classifier head: fine-tune it first") }
        return head
    }

    func outputs(of head: any Head, _ builder: NetworkBuilder, batch: Int) throws -> Value {
        try head.outputs(Inputs.images(builder.graph, model.encoder.geometry, batch: batch), of: model.encoder, builder)
    }

    /// Writes class probabilities, [count, classes]. Returns false when it was cancelled.
    public func predict(_ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<Float>) throws -> Bool {
        let head = try classifier()
        let classes = head.classes
        return try run(dataset) { builder, batch in
            try builder.graph.apply(SoftmaxRows(), [outputs(of: head, builder, batch: batch)])[0]
        } collect: { shares, batch, first in
            guard let source = shares.baseAddress else { return }
            output.baseAddress.map { ($0 + first * classes).update(from: source, count: batch.count * classes) }
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

    /// Accuracy and loss on a labelled dataset; nil when it was cancelled. `confuses`: whether pairs of classes are counted, which is done up
    /// to `mostConfusedClasses`.
    public func evaluate(_ dataset: ImageDataset, confuses: Bool = false) throws -> Evaluation? {
        guard dataset.labels != nil else { throw MRPError(.argument, "evaluation needs labels, the dataset has none") }
        let head = try classifier()
        let classes = head.classes
        guard dataset.classCount <= classes else {
            throw MRPError(.argument, "the dataset has \(dataset.classCount) classes, the model knows \(classes)")
        }
        // Beyond the limit the counts are left out; the shares are not.
        var result = try Evaluation(classes: confuses && classes <= Self.mostConfusedClasses ? classes : 0)
        var (correct, close, loss) = (0, 0, 0.0)
        let finished = try run(dataset) { builder, batch in
            try outputs(of: head, builder, batch: batch)
        } collect: { logits, batch, _ in
            for image in 0..<batch.count {
                let row = UnsafeBufferPointer(rebasing: logits[image * classes..<(image + 1) * classes])
                let label = Int(batch.labels[image])
                let guess = row.largestPlace
                let largest = row[guess]
                if guess == label { correct += 1 }
                // Of equal scores the first class comes first, as in top1.
                let before = row.indices.count { row[$0] > row[label] || (row[$0] == row[label] && $0 < label) }
                if before < 5 { close += 1 }
                if result.classes > 0 { result.count(label, takenFor: guess) }
                let sum = row.reduce(0.0) { $0 + exp(Double($1 - largest)) }
                loss += log(sum) + Double(largest - row[label])
            }
        }
        guard finished else { return nil }
        result.top1 = Double(correct) / Double(dataset.count)
        result.top5 = Double(close) / Double(dataset.count)
        result.loss = loss / Double(dataset.count)
        return result
    }

    // MARK: The loop

    /// Runs a graph over a dataset in order. The last batch may be smaller; its unused rows are computed and ignored.
    func run(
        _ dataset: ImageDataset, view: Int? = nil, largestBatch: Int = Self.largestBatch,
        build: (NetworkBuilder, Int) throws -> Value, prepare: ((any Program, Batch, Int) throws -> Void)? = nil,
        collect: (UnsafeBufferPointer<Float>, Batch, Int) throws -> Void
    ) throws -> Bool {
        try Pipeline.check(dataset, fits: model)
        let batch = min(largestBatch, dataset.count)
        let loader = try Pipeline.evaluationLoader(dataset, model, options, batch: batch, view: view)
        let size = model.encoder.geometry.imageShape.reduce(1, *)
        let graph = Graph()
        let output = try build(model.builder(graph), batch)
        let program = try options.backend().compile(graph, outputs: [output], state: model.parameters.tensors)
        let heartbeat = poll.map { Heartbeat($0) }
        var first = 0
        while true {
            switch try loader.next(cancel: cancel) {
            case .end: return true
            case .cancelled: return false
            case .batch(let data):
                try program.write(UnsafeBufferPointer(start: data.images, count: data.count * size), to: Inputs.imagesName)
                try prepare?(program, data, first)
                guard try program.run(cancel: cancel, poll: heartbeat?.beat) else { return false }
                try program.withOutput(output, as: Float.self) { try collect($0, data, first) }
                first += data.count
            }
        }
    }
}
