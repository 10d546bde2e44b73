import CMRPKernels
import MRPData
import MRPEngine
import MRPModels

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// How good frozen features are: accuracy on held-out images of a classifier that knows labelled ones, without training the encoder.
public struct Probe {
    public enum Method: String, CaseIterable, Sendable {
        /// Weighted nearest neighbours (Wu et al. 2018): the k images with the largest cosine similarity s vote with exp(s / temperature).
        case knn
        /// A linear classifier as MAE trains it (He et al. 2021): features normed per column without scale and shift, LARS, cosine.
        case linear
    }

    let inference: Inference
    private var options: Options { inference.options }

    public init(_ inference: Inference) { self.inference = inference }

    /// Accuracy, 0 ... 1; nil when it was cancelled. Errors: `.argument` when labels are missing or k is too large.
    public func accuracy(_ method: Method, known: ImageDataset, heldOut: ImageDataset) throws -> Double? {
        try accuracies([method], known: known, heldOut: heldOut)?[0]
    }

    /// The same for several methods, with one pass over the images.
    func accuracies(_ methods: [Method], known: ImageDataset, heldOut: ImageDataset) throws -> [Double]? {
        try Self.check(known: known, heldOut: heldOut)
        let width = try inference.featureCount()
        guard let reference = try features(known, width), let queries = try features(heldOut, width) else { return nil }
        var result: [Double] = []
        for method in methods {
            let found =
                switch method {
                case .knn: try neighbours(reference, queries, known, heldOut)
                case .linear: try linear(reference, queries, known, heldOut)
                }
            guard let found else { return nil }
            result.append(found)
        }
        return result
    }

    static func check(known: ImageDataset, heldOut: ImageDataset) throws {
        guard known.labels != nil, heldOut.labels != nil else { throw MRPError(.argument, "a probe needs labels of both sets of images") }
        guard known.classNames == heldOut.classNames || known.classCount >= heldOut.classCount else {
            throw MRPError(
                .argument, "the held-out images have \(heldOut.classCount) classes, the labelled ones \(known.classCount)")
        }
    }

    /// Features [count, width].
    private func features(_ dataset: ImageDataset, _ width: Int) throws -> Tensor? {
        let features = try Tensor([dataset.count, width])
        return try inference.encode(dataset, into: features.float32) ? features : nil
    }

    private func isCancelled() -> Bool {
        inference.poll?()
        return inference.cancel.map { mk_flag_load($0) != 0 } ?? false
    }

    // MARK: Nearest neighbours

    private func neighbours(_ reference: Tensor, _ queries: Tensor, _ known: ImageDataset, _ heldOut: ImageDataset) throws -> Double? {
        let (k, temperature) = (options.integer("knn_k"), options.number("knn_temperature"))
        guard k <= known.count else { throw MRPError(.argument, "knn_k \(k) is above the \(known.count) labelled images") }
        guard let labels = known.labels, let truth = heldOut.labels else { return nil }
        let (unitReference, unitQueries) = (try Self.normalised(reference), try Self.normalised(queries))
        let width = reference.shape[1]
        let block = min(64, heldOut.count)
        let graph = Graph()
        let input = graph.input("queries", TensorType([block, width]))
        let bound = graph.bound("reference", reference.type)
        let product = try graph.apply(MatrixProduct(transposeB: true), [input, bound])[0]
        let executor = try Executor(graph, outputs: [product], bound: ["reference": unitReference], compute: options.compute())
        guard let target = executor.input("queries") else { throw MRPError(.internalError, "the similarities have no input") }
        var (correct, votes) = (0, [Double](repeating: 0, count: known.classCount))
        for start in stride(from: 0, to: heldOut.count, by: block) {
            let count = min(block, heldOut.count - start)
            target.memory.copyMemory(from: unitQueries.memory + 4 * start * width, byteCount: 4 * count * width)
            guard !isCancelled(), executor.run(cancel: inference.cancel) else { return nil }
            guard let similar = executor.pointer(to: product)?.assumingMemoryBound(to: Float.self) else { return nil }
            for row in 0..<count {
                let nearest = Self.largest(k, UnsafeBufferPointer(start: similar + row * known.count, count: known.count))
                for index in votes.indices { votes[index] = 0 }
                for (value, index) in nearest { votes[Int(labels[index])] += exp((Double(value) - 1) / temperature) }
                if votes.firstIndex(of: votes.max() ?? 0) == Int(truth[start + row]) { correct += 1 }
            }
        }
        return Double(correct) / Double(heldOut.count)
    }

    /// Rows of length 1.
    private static func normalised(_ features: Tensor) throws -> Tensor {
        let (count, width) = (features.shape[0], features.shape[1])
        let result = try Tensor(features.shape)
        for row in 0..<count {
            let (from, to) = (features.float32.baseAddress, result.float32.baseAddress)
            guard let from = from.map({ $0 + row * width }), let to = to.map({ $0 + row * width }) else { continue }
            var sum = 0.0
            for i in 0..<width { sum += Double(from[i]) * Double(from[i]) }
            let factor = Float(1 / max(sum.squareRoot(), 1e-12))
            for i in 0..<width { to[i] = from[i] * factor }
        }
        return result
    }

    /// The k largest values with their places; of equal ones the first. A heap with the smallest kept value on top.
    static func largest(_ k: Int, _ values: UnsafeBufferPointer<Float>) -> [(value: Float, index: Int)] {
        var heap: [(value: Float, index: Int)] = []
        heap.reserveCapacity(k)
        func worse(_ a: (value: Float, index: Int), _ b: (value: Float, index: Int)) -> Bool {
            a.value != b.value ? a.value < b.value : a.index > b.index
        }
        func sink() {
            var place = 0
            while true {
                var worst = place
                for child in [2 * place + 1, 2 * place + 2] where child < heap.count && worse(heap[child], heap[worst]) { worst = child }
                if worst == place { return }
                heap.swapAt(place, worst)
                place = worst
            }
        }
        for (index, value) in values.enumerated() {
            if heap.count < k {
                heap.append((value, index))
                var place = heap.count - 1
                while place > 0, worse(heap[place], heap[(place - 1) / 2]) {
                    heap.swapAt(place, (place - 1) / 2)
                    place = (place - 1) / 2
                }
            } else if value > heap[0].value {
                heap[0] = (value, index)
                sink()
            }
        }
        return heap
    }

    // MARK: Linear classifier

    private func linear(_ reference: Tensor, _ queries: Tensor, _ known: ImageDataset, _ heldOut: ImageDataset) throws -> Double? {
        guard let labels = known.labels, let truth = heldOut.labels else { return nil }
        let (width, classes) = (reference.shape[1], max(known.classCount, 2))
        try Self.standardise([reference, queries], by: reference)
        let batch = min(options.optionalInteger("probe_batch_size") ?? min(max(known.count / 8, 64), 16_384), known.count)
        let weights = ["head.weight": try Tensor([classes, width]), "head.bias": try Tensor([classes])]
        RandomStream(seed: options.seed, .probing).fillNormal(weights["head.weight"]?.float32 ?? .init(start: nil, count: 0))
        if let values = weights["head.weight"]?.float32 { for i in values.indices { values[i] *= 0.01 } }

        let graph = Graph()
        let input = graph.input("features", TensorType([batch, width]))
        let target = graph.input("labels", TensorType([batch], .int32))
        let (weight, bias) = (graph.bound("head.weight", TensorType([classes, width])), graph.bound("head.bias", TensorType([classes])))
        let logits = try graph.apply(MatrixProduct(transposeB: true), [input, weight, bias])[0]
        let loss = try graph.apply(SoftmaxCrossEntropy(), [logits, target])[0]
        let gradients = try graph.gradients(of: loss, withRespectTo: [weight, bias])
        let settings = StepSettings()
        var bound = weights
        for (name, value) in [("head.weight", weight), ("head.bias", bias)] {
            guard let gradient = gradients[value] else { continue }
            let buffer = graph.bound("momentum/" + name, graph.type(of: value))
            bound["momentum/" + name] = try Tensor(graph.shape(of: value))
            let hyperparameters = SGD.Hyperparameters(momentum: 0.9, trust: name == "head.weight" ? 1e-3 : 0)
            try graph.apply(SGD(hyperparameters, settings: settings), [value, gradient, buffer])
        }
        let executor = try Executor(graph, outputs: [loss, logits], bound: bound, compute: options.compute())
        guard let features = executor.input("features"), let numbers = executor.input("labels") else { return nil }
        let epochs = options.integer("probe_epochs")
        let stepsPerEpoch = known.count / batch
        let schedule = LearningRateSchedule(
            peak: options.number("probe_learning_rate"), minimum: 0, warmupEpochs: Double(epochs) / 9, epochs: Double(epochs),
            stepsPerEpoch: stepsPerEpoch)
        let order = try Tensor(TensorType([known.count], .int32))
        for epoch in 0..<epochs {
            shuffle(order, epoch: epoch)
            for step in 0..<stepsPerEpoch {
                for row in 0..<batch {
                    let image = Int(order.int32[step * batch + row])
                    (features.memory + 4 * row * width).copyMemory(from: reference.memory + 4 * image * width, byteCount: 4 * width)
                    numbers.int32[row] = labels[image]
                }
                settings.learningRate = schedule.rate(step: epoch * stepsPerEpoch + step)
                guard executor.run(cancel: inference.cancel) else { return nil }
            }
            if isCancelled() { return nil }
        }
        return try Self.score(executor, logits, features, queries, truth, batch: batch, classes: classes)
    }

    /// A random order of the images, a function of (seed, epoch).
    private func shuffle(_ order: Tensor, epoch: Int) {
        var random = SampleRandom(seed: options.seed, purpose: .probing, epoch: epoch, sample: 1, position: 0)
        for i in order.int32.indices { order.int32[i] = Int32(i) }
        for i in stride(from: order.int32.count - 1, to: 0, by: -1) { order.int32.swapAt(i, random.below(i + 1)) }
    }

    /// Columns with mean 0 and deviation 1 over the rows of `base`, which is changed last.
    private static func standardise(_ tensors: [Tensor], by base: Tensor) throws {
        let (count, width) = (base.shape[0], base.shape[1])
        for column in 0..<width {
            var (sum, squares) = (0.0, 0.0)
            for row in 0..<count { sum += Double(base.float32[row * width + column]) }
            let mean = sum / Double(count)
            for row in 0..<count {
                let distance = Double(base.float32[row * width + column]) - mean
                squares += distance * distance
            }
            let factor = 1 / (squares / Double(count) + 1e-6).squareRoot()
            for tensor in tensors {
                for row in 0..<tensor.shape[0] {
                    let place = row * width + column
                    tensor.float32[place] = Float((Double(tensor.float32[place]) - mean) * factor)
                }
            }
        }
    }

    /// Accuracy of the trained weights; the executor runs without its updates.
    private static func score(
        _ executor: Executor, _ logits: Value, _ features: Tensor, _ queries: Tensor, _ truth: UnsafeBufferPointer<Int32>, batch: Int,
        classes: Int
    ) throws -> Double {
        let width = queries.shape[1]
        var correct = 0
        for start in stride(from: 0, to: truth.count, by: batch) {
            let count = min(batch, truth.count - start)
            features.memory.copyMemory(from: queries.memory + 4 * start * width, byteCount: 4 * count * width)
            executor.run(cancel: nil, accept: { false })
            guard let scores = executor.pointer(to: logits)?.assumingMemoryBound(to: Float.self) else { continue }
            for row in 0..<count {
                let values = UnsafeBufferPointer(start: scores + row * classes, count: classes)
                if values.firstIndex(of: values.max() ?? 0) == Int(truth[start + row]) { correct += 1 }
            }
        }
        return Double(correct) / Double(truth.count)
    }
}
