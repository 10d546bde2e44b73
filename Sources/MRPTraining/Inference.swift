import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPObjectives

/// Features, class probabilities, evaluation and reconstructions of a trained model, over whole datasets.
public struct Inference {
    public enum Features: String, Sendable { case mean, cls, tokens }

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
        let layer = options.integer("layer")
        let depth = model.encoder.depth
        guard layer <= depth else { throw MRPError(.argument, "layer \(layer) is outside 0 ... \(depth)") }
        let shape = model.encoder.featureShape(layer: layer)
        switch Features(rawValue: options.choice("features")) ?? .mean {
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
        let layer = options.integer("layer")
        let kind = Features(rawValue: options.choice("features")) ?? .mean
        let count = try featureCount()
        return try run(dataset, view: view) { builder, batch in
            let images = MaskedAutoencoder.images(builder.graph, model.encoder.geometry, batch: batch)
            let tokens = try model.encoder.features(images, layer: layer, head: model.head, builder)
            switch kind {
            case .mean: return try builder.graph.apply(MeanTokens(first: model.encoder.hasClassToken ? 1 : 0), [tokens])[0]
            case .cls: return try builder.gather(tokens, ids: builder.graph.constant(indices: [0]))
            case .tokens: return tokens
            }
        } collect: { features, batch, first in
            guard let source = features.baseAddress else { return }
            output.baseAddress.map { ($0 + first * count).update(from: source, count: batch.count * count) }
        }
    }

    // MARK: Classification

    /// Writes class probabilities, [count, classes]. Returns false when it was cancelled.
    public func predict(_ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<Float>) throws -> Bool {
        let objective = try Classification(model)
        let classes = objective.head.classes
        return try run(dataset) { builder, batch in
            try builder.graph.apply(SoftmaxRows(), [objective.logits(builder, batch: batch)])[0]
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
        /// How many images of class t were taken for class p: confusion[t classes + p].
        public var confusion: [Int64]

        init(classes: Int) {
            self.classes = classes
            confusion = [Int64](repeating: 0, count: classes * classes)
        }

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

    /// Classes up to which a confusion matrix is counted.
    public static let mostConfusedClasses = 4_096

    /// Accuracy and loss on a labelled dataset; nil when it was cancelled.
    public func evaluate(_ dataset: ImageDataset) throws -> Evaluation? {
        guard dataset.labels != nil else { throw MRPError(.argument, "evaluation needs labels, the dataset has none") }
        let objective = try Classification(model)
        let classes = objective.head.classes
        guard dataset.classCount <= classes else {
            throw MRPError(.argument, "the dataset has \(dataset.classCount) classes, the model knows \(classes)")
        }
        // Beyond the limit the counts are left out; the shares are not.
        var result = Evaluation(classes: classes <= Self.mostConfusedClasses ? classes : 0)
        var (correct, close, loss) = (0, 0, 0.0)
        let finished = try run(dataset) { builder, batch in
            try objective.logits(builder, batch: batch)
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
                if result.classes > 0 { result.confusion[label * classes + guess] += 1 }
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
        _ dataset: ImageDataset, statistics: ChannelStatistics? = nil, view: Int? = nil,
        build: (NetworkBuilder, Int) throws -> Value, prepare: ((any Program, Batch, Int) throws -> Void)? = nil,
        collect: (UnsafeBufferPointer<Float>, Batch, Int) throws -> Void
    ) throws -> Bool {
        try Pipeline.check(dataset, fits: model)
        let batch = min(Self.largestBatch, dataset.count)
        let loader = try Pipeline.evaluationLoader(dataset, model, options, batch: batch, statistics: statistics, view: view)
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
                try program.write(UnsafeBufferPointer(start: data.images, count: data.count * size), to: MaskedAutoencoder.imagesInput)
                try prepare?(program, data, first)
                guard try program.run(cancel: cancel, poll: heartbeat?.beat) else { return false }
                try program.withOutput(output, as: Float.self) { try collect($0, data, first) }
                first += data.count
            }
        }
    }
}
