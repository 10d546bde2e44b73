import CMRPKernels
import Glibc
import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Quality of frozen features: accuracy on held-out images of a classifier that knows labelled ones, without training the encoder.
public struct Probe {
    public enum Method: String, CaseIterable, Sendable {
        /// Weighted nearest neighbours (Wu et al. 2018): the k images with the largest cosine similarity s vote with exp(s / temperature).
        case knn
        /// A linear classifier as MAE trains it (He et al. 2021): features normed per column without scale and shift, LARS, cosine. With
        /// `probe_views` its epochs see augmented images in turn.
        case linear
    }

    private(set) var inference: Inference
    var options: Options { inference.options }

    /// An image that cannot be read is an error: it would be a row without features.
    public init(_ inference: Inference) {
        self.inference = inference
        self.inference.skipsUnreadable = false
    }

    /// Accuracy, 0 ... 1; nil when it was cancelled. Errors: `.argument` when labels are missing or k is too large.
    public func accuracy(_ method: Method, known: ImageDataset, heldOut: ImageDataset) throws -> Double? {
        let (known, heldOut) = (try options.atLevel(known), try options.atLevel(heldOut))
        try Self.check(known: known, heldOut: heldOut)
        if let warning = try Self.match(heldOut, known).warning { Log.warning(warning) }
        return try accuracies([method], known: known, heldOut: heldOut)?[0]
    }

    /// The same for several methods, with one pass over the images.
    func accuracies(_ methods: [Method], known: ImageDataset, heldOut: ImageDataset) throws -> [Double]? {
        try Self.check(known: known, heldOut: heldOut)
        let width = try inference.featureCount()
        guard let queries = try features(heldOut, width) else { return nil }
        let isPlain = methods.contains(.knn) || options[MeasurementOptions.probeViews] == 0
        let reference = isPlain ? try features(known, width) : nil
        if isPlain, reference == nil { return nil }
        var result: [Method: Double] = [:]
        // The linear classifier changes features in place.
        for method in Method.allCases where methods.contains(method) {
            let found =
                switch method {
                case .knn: try reference.flatMap { try neighbours($0, queries, known, heldOut) }
                case .linear: try linear(reference, queries, known, heldOut)
                }
            guard let found else { return nil }
            result[method] = found
        }
        return methods.map { result[$0] ?? .nan }
    }

    static func check(known: ImageDataset, heldOut: ImageDataset) throws {
        guard known.labels != nil, heldOut.labels != nil else { throw MRPError(.argument, "a probe needs labels of both sets of images") }
        _ = try match(heldOut, known)
    }

    /// The classes of the held-out images as places among those of the labelled ones.
    static func match(_ heldOut: ImageDataset, _ known: ImageDataset) throws -> ClassMatch {
        try ClassMatch(heldOut, known: known.classNames, count: known.classCount, owner: "the reference")
    }

    /// Features [count, width], of plain images or of a view of them; nil when it was cancelled.
    func features(_ dataset: ImageDataset, _ width: Int, view: Int? = nil, into memory: Tensor? = nil) throws -> Tensor? {
        let features = try memory ?? Tensor([dataset.count, width])
        return try inference.encode(dataset, view: view, into: features.float32) ? features : nil
    }

    func isCancelled() -> Bool {
        inference.poll?()
        return inference.cancel.map { mk_flag_load($0) != 0 } ?? false
    }

    // MARK: Nearest neighbours

    private func neighbours(_ reference: Tensor, _ queries: Tensor, _ known: ImageDataset, _ heldOut: ImageDataset) throws -> Double? {
        let (k, temperature) = (options[MeasurementOptions.knnK], options[MeasurementOptions.knnTemperature])
        guard k <= known.count else { throw MRPError(.argument, "knn_k \(k) is above the \(known.count) labelled images") }
        guard let labels = known.labels, let truth = heldOut.labels else { return nil }
        let places = try Self.match(heldOut, known).places
        let (unitReference, unitQueries) = (try Self.normalised(reference), try Self.normalised(queries))
        let width = reference.shape[1]
        let block = min(64, heldOut.count)
        let graph = Graph()
        let input = graph.input("queries", TensorType([block, width]), filledBy: .host)
        let bound = graph.bound("reference", reference.type)
        let product = try graph.apply(MatrixProduct(transposeB: true), [input, bound])[0]
        let program = try options.backend().compile(graph, outputs: [product], state: ["reference": unitReference])
        var correct = 0
        let voteMemory = try Memory(known.classCount, elementBytes: 8, for: "the votes of \(k) neighbours")
        let votes = voteMemory.typed(Double.self)
        try Memory.check(k, bytesEach: 32, for: "\(k) neighbours")
        for start in stride(from: 0, to: heldOut.count, by: block) {
            let count = min(block, heldOut.count - start)
            let rows = UnsafeBufferPointer(rebasing: unitQueries.float32[start * width..<(start + count) * width])
            try program.write(rows, to: "queries")
            guard !isCancelled(), try program.run(cancel: inference.cancel) else { return nil }
            try program.withOutput(product, as: Float.self) { similar in
                for row in 0..<count {
                    let nearest = Self.largest(
                        k, UnsafeBufferPointer(rebasing: similar[row * known.count..<(row + 1) * known.count]))
                    votes.update(repeating: 0)
                    for (value, index) in nearest { votes[Int(labels[index])] += exp((Double(value) - 1) / temperature) }
                    if UnsafeBufferPointer(votes).largestPlace == places[Int(truth[start + row])] { correct += 1 }
                }
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
}
