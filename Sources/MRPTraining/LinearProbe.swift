import CMRPKernels
import MRPData
import MRPEngine
import MRPModels

extension Probe {
    /// Accuracy of a linear classifier; nil when it was cancelled. `reference` are plain features of the known images, which `probe_views`
    /// above 0 does without; it and `queries` are normed in place.
    func linear(_ reference: Tensor?, _ queries: Tensor, _ known: ImageDataset, _ heldOut: ImageDataset) throws -> Double? {
        guard let labels = known.labels, let truth = heldOut.labels else { return nil }
        let (width, classes) = (queries.shape[1], max(known.classCount, 2))
        let epochs = options[MeasurementOptions.probeEpochs]
        let views = options[MeasurementOptions.probeViews]
        let source = FeatureViews(max(views, 1), epochs: epochs) { view, memory in
            views == 0 ? reference : try features(known, width, view: view, into: memory)
        }
        guard try source.features(epoch: 0) != nil else { return nil }
        source.norm?.apply(to: queries)
        let batch = min(options[MeasurementOptions.probeBatchSize] ?? min(max(known.count / 8, 64), 16_384), known.count)
        let weights = ["head.weight": try Tensor([classes, width]), "head.bias": try Tensor([classes])]
        RandomStream(seed: options.seed, .probing).fillNormal(weights["head.weight"]?.float32 ?? .init(start: nil, count: 0))
        if let values = weights["head.weight"]?.float32 { for i in values.indices { values[i] *= 0.01 } }

        let graph = Graph()
        let input = graph.input("features", TensorType([batch, width]), filledBy: .host)
        let target = graph.input("labels", TensorType([batch], .int32), filledBy: .host)
        let (weight, bias) = (graph.bound("head.weight", TensorType([classes, width])), graph.bound("head.bias", TensorType([classes])))
        let logits = try graph.apply(MatrixProduct(transposeB: true), [input, weight, bias])[0]
        let loss = try graph.apply(SoftmaxCrossEntropy(), [logits, target])[0]
        let gradients = try graph.gradients(of: loss, withRespectTo: [weight, bias])
        let rate = graph.scalar(.learningRate)
        var state = weights
        for (name, value) in [("head.weight", weight), ("head.bias", bias)] {
            guard let gradient = gradients[value] else { continue }
            let buffer = graph.bound("momentum/" + name, graph.type(of: value))
            state["momentum/" + name] = try Tensor(graph.shape(of: value))
            let hyperparameters = SGD.Hyperparameters(momentum: 0.9, trust: name == "head.weight" ? 1e-3 : 0)
            try graph.apply(SGD(hyperparameters), [value, gradient, buffer, rate])
        }
        let program = try options.backend().compile(graph, outputs: [loss, logits], state: state)
        let stepsPerEpoch = known.count / batch
        let schedule = LearningRateSchedule(
            peak: options[MeasurementOptions.probeLearningRate], minimum: 0, warmupEpochs: Double(epochs) / 9, epochs: Double(epochs),
            stepsPerEpoch: stepsPerEpoch)
        let order = try Tensor(TensorType([known.count], .int32))
        for epoch in 0..<epochs {
            guard let seen = try source.features(epoch: epoch) else { return nil }
            shuffle(order, epoch: epoch)
            for step in 0..<stepsPerEpoch {
                let images = UnsafeBufferPointer(rebasing: order.int32[step * batch..<(step + 1) * batch])
                try program.withInput("features") { features in
                    for (row, image) in images.enumerated() {
                        let source = UnsafeRawBufferPointer(start: seen.memory + 4 * Int(image) * width, count: 4 * width)
                        UnsafeMutableRawBufferPointer(rebasing: features[(4 * row * width)...]).copyMemory(from: source)
                    }
                }
                try program.withInput("labels", as: Int32.self) { numbers in
                    for (row, image) in images.enumerated() { numbers[row] = labels[Int(image)] }
                }
                try program.write(schedule.rate(step: epoch * stepsPerEpoch + step), to: .learningRate)
                guard try program.run(cancel: inference.cancel) else { return nil }
            }
            if isCancelled() { return nil }
        }
        let places = try Self.match(heldOut, known).places
        return try Self.score(program, logits, queries, truth, places, batch: batch, classes: classes, known: known.classCount)
    }

    /// A random order of the images, a function of (seed, epoch).
    private func shuffle(_ order: Tensor, epoch: Int) {
        var random = SampleRandom(seed: options.seed, purpose: .probing, epoch: epoch, sample: 1, position: 0)
        var images = order.int32
        for i in images.indices { images[i] = Int32(i) }
        images.shuffle { random.below($0) }
    }

    /// Accuracy of the trained weights; the program runs without its updates.
    private static func score(
        _ program: any Program, _ logits: Value, _ queries: Tensor, _ truth: UnsafeBufferPointer<Int32>, _ places: [Int?], batch: Int,
        classes: Int, known: Int
    ) throws -> Double {
        let width = queries.shape[1]
        var correct = 0
        for start in stride(from: 0, to: truth.count, by: batch) {
            let count = min(batch, truth.count - start)
            try program.write(UnsafeBufferPointer(rebasing: queries.float32[start * width..<(start + count) * width]), to: "features")
            try program.run(updates: false)
            try program.withOutput(logits, as: Float.self) { scores in
                for row in 0..<count {
                    let values = UnsafeBufferPointer(rebasing: scores[row * classes..<row * classes + known])
                    if values.largestPlace == places[Int(truth[start + row])] { correct += 1 }
                }
            }
        }
        return Double(correct) / Double(truth.count)
    }
}

/// The normed features that each epoch of a linear probe learns from: those of `count` views in turn, each encoded when its first epoch
/// comes. Views that come again are kept; when each comes once, one memory serves all.
private final class FeatureViews {
    private let count: Int
    private let isKept: Bool
    /// The features of a view, in the given memory where there is one; nil when it was cancelled.
    private let encode: (_ view: Int, _ memory: Tensor?) throws -> Tensor?
    private var kept: [Tensor] = []
    private var latest = -1
    /// That of the first view.
    private(set) var norm: ColumnNorm?

    init(_ count: Int, epochs: Int, encode: @escaping (_ view: Int, _ memory: Tensor?) throws -> Tensor?) {
        (self.count, isKept, self.encode) = (count, count < epochs, encode)
    }

    /// Valid until the next call; nil when it was cancelled.
    func features(epoch: Int) throws -> Tensor? {
        let view = epoch % count
        if isKept ? view < kept.count : view == latest { return kept[isKept ? view : 0] }
        guard let features = try encode(view, isKept ? nil : kept.first) else { return nil }
        if isKept || kept.isEmpty { kept.append(features) }
        latest = view
        let norm = try norm ?? ColumnNorm(of: features)
        self.norm = norm
        norm.apply(to: features)
        return features
    }
}

/// Gives columns the mean 0 and the deviation 1 that those of one tensor have then.
private struct ColumnNorm {
    private let mean: Tensor
    private let factor: Tensor

    init(of base: Tensor) throws {
        let (count, width) = (base.shape[0], base.shape[1])
        (mean, factor) = (try Tensor([width], precision: .float64), try Tensor([width], precision: .float64))
        let (mean, factor, values) = (Self.doubles(mean), Self.doubles(factor), base.float32)
        for row in 0..<count {
            for column in 0..<width { mean[column] += Double(values[row * width + column]) }
        }
        for column in 0..<width { mean[column] /= Double(count) }
        for row in 0..<count {
            for column in 0..<width {
                let distance = Double(values[row * width + column]) - mean[column]
                factor[column] += distance * distance
            }
        }
        for column in 0..<width { factor[column] = 1 / (factor[column] / Double(count) + 1e-6).squareRoot() }
    }

    func apply(to tensor: Tensor) {
        let (width, values) = (tensor.shape[1], tensor.float32)
        let (mean, factor) = (Self.doubles(mean), Self.doubles(factor))
        for row in 0..<tensor.shape[0] {
            for column in 0..<width {
                let place = row * width + column
                values[place] = Float((Double(values[place]) - mean[column]) * factor[column])
            }
        }
    }

    private static func doubles(_ tensor: Tensor) -> UnsafeMutablePointer<Double> { tensor.memory.assumingMemoryBound(to: Double.self) }
}
