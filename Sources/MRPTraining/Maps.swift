import CMRPImage
import MRPData
import MRPEngine
import MRPModels

/// Classes of pixels by a model with a dense head: maps at each image's own size, and what they are worth. All of an image is resized to the
/// network's size; the scores are resized back (bilinear) before the largest is taken.
extension Inference {
    /// The model's head for pixels. Errors: `.state` when it has none.
    func segmenter() throws -> SegmentationHead {
        guard let head = model.head as? SegmentationHead else {
            let found = model.head.map { "its head is \($0.name)" } ?? "it has no head"
            throw MRPError(.state, "the model gives no classes of pixels, \(found): fine-tune it with task segment first")
        }
        return head
    }

    /// Pixels of all images together, at their own sizes.
    public func pixelCount(_ dataset: ImageDataset) throws -> Int {
        if let size = dataset.imageSize { return try checkedProduct([dataset.count, size.height, size.width]) }
        var total = 0
        for index in 0..<dataset.count {
            try Interruption.check()
            let size = try dataset.size(of: index)
            total += size.height * size.width
        }
        return total
    }

    /// Writes the class of each pixel, image after image, each at its own size; 65535 for all pixels of an image that cannot be read. Returns false
    /// when it was cancelled. Errors: `.state` without a dense head.
    public func segment(_ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<UInt16>) throws -> Bool {
        var position = 0
        return try eachMap(dataset) { index, scores in
            let size = try dataset.size(of: index)
            let count = size.height * size.width
            guard let start = output.baseAddress, position + count <= output.count else {
                throw MRPError(.argument, "the images have more pixels than the \(output.count) elements of the output")
            }
            let target = start + position
            position += count
            guard var scores else { return target.update(repeating: .max, count: count) }
            let view = PixelView(ids: target, size, type: .uint16)
            mi_class_map(&scores, [view])
        }
    }

    /// What maps are worth, over all pixels with a class.
    public struct MapEvaluation: DenseEvaluation {
        public let classes: Int
        /// Mean cross entropy.
        public internal(set) var loss = 0.0
        /// Pixels that have a class.
        public internal(set) var pixels = 0
        private let counts: Memory

        init(classes: Int) throws {
            self.classes = classes
            counts = try Memory(
                checkedProduct([classes, classes]), elementBytes: 8, zeroed: true, for: "the counts of \(classes) x \(classes) classes")
        }

        public static let main = "miou"
        public var measures: [(name: String, value: Double)] {
            [("miou", meanIntersectionOverUnion), ("pixel_accuracy", accuracy), ("loss", loss)]
        }

        /// Number of pixels of class t that were taken for class p, at place t classes + p. Valid as long as the evaluation.
        public var confusion: UnsafeMutableBufferPointer<Int64> { counts.typed(Int64.self) }

        /// Share of the pixels whose class was found.
        public var accuracy: Double { Double((0..<classes).reduce(0) { $0 + Int(confusion[$1 * classes + $1]) }) / Double(pixels) }

        /// Intersection over union of each class, over all images together; NaN for a class that neither masks nor maps have.
        public var intersectionsOverUnions: [Double] {
            (0..<classes).map { label in
                let both = confusion[label * classes + label]
                let own = (0..<classes).reduce(Int64(0)) { $0 + confusion[label * classes + $1] }
                let taken = (0..<classes).reduce(Int64(0)) { $0 + confusion[$1 * classes + label] }
                return Double(both) / Double(own + taken - both)
            }
        }

        /// Their mean, over the classes that are there.
        public var meanIntersectionOverUnion: Double {
            let known = intersectionsOverUnions.filter { !$0.isNaN }
            return known.reduce(0, +) / Double(known.count)
        }
    }

    /// Compares the maps with the masks at the images' own sizes; nil when it was cancelled. Classes are matched by their names. Errors: `.argument`
    /// when the dataset has no masks, a class that the model does not know, or no pixel with a class; `.state` without a dense head.
    public func evaluateMaps(_ dataset: ImageDataset) throws -> MapEvaluation? {
        let places = try pixelPlaces(dataset)
        guard places.count <= Self.mostConfusedClasses else {
            throw MRPError(.argument, "\(places.count) classes are above \(Self.mostConfusedClasses), up to which they are counted")
        }
        var result = try MapEvaluation(classes: namedClasses())
        let workspace = ImageWorkspace()
        var score = mi_map_score(confusion: result.confusion.baseAddress, loss: 0, pixels: 0)
        let finished = try eachMap(dataset) { index, scores in
            guard var scores else { return }
            try dataset.load(index, into: workspace)
            try dataset.loadTarget(index, into: workspace)
            guard let target = workspace.target, target.size == workspace.image.size else {
                throw MRPError(.argument, "\(dataset.name(of: index)): the pixel mask does not have the size of the image")
            }
            mi_score_map(&scores, [target], dataset.ignoredId, places, &score)
        }
        guard finished else { return nil }
        guard score.pixels > 0 else { throw MRPError(.argument, "no pixel of the masks has a class") }
        (result.loss, result.pixels) = (score.loss / Double(score.pixels), Int(score.pixels))
        return result
    }

    /// Classes that can be answers: outputs without a name stand for none.
    public func namedClasses() throws -> Int {
        let head = try segmenter()
        return model.classNames.isEmpty ? head.classes : min(head.classes, model.classNames.count)
    }

    /// The class of each id of the masks, as a place in the model's list: that of the same name, of numbers that of the same number.
    func pixelPlaces(_ dataset: ImageDataset) throws -> [Int32] {
        let count = try namedClasses()
        try dataset.requireMasks(.classes, for: "evaluation")
        let (own, known) = (dataset.classNames, model.classNames)
        if known.isEmpty || !dataset.hasClassNames {
            guard own.count <= count else {
                throw MRPError(.argument, "the masks have \(own.count) classes, the model knows \(count)")
            }
            return own.indices.map { Int32($0) }
        }
        let places = Dictionary(known.enumerated().map { ($1, Int32($0)) }, uniquingKeysWith: { first, _ in first })
        return try own.map { name in
            guard let place = places[name] else {
                throw MRPError(.argument, "the masks have the class '\(name)', which is none of the model's (\(ClassMatch.list(known)))")
            }
            return place
        }
    }

    /// Runs the head over a dataset in order; scores are nil for an image that cannot be read.
    private func eachMap(_ dataset: ImageDataset, _ body: (_ index: Int, _ scores: mi_scores?) throws -> Void) throws -> Bool {
        let head = try segmenter()
        var shape = (height: 0, width: 0)
        var row: Memory?
        let named = try namedClasses()
        return try run(dataset, largestBatch: 16, whole: true) { builder, batch in
            let map = try head.map(Inputs.images(builder.graph, model.encoder.geometry, batch: batch), of: model.encoder, builder)
            shape = (map.height, map.width)
            row = try Memory((map.width + 1) * head.classes, elementBytes: 4, for: "a row of scores")
            return map.value
        } collect: { logits, batch, first in
            let count = shape.height * shape.width * head.classes
            for image in 0..<batch.count {
                try Interruption.check()
                guard batch.holds(image, first: first) else {
                    try body(first + image, nil)
                    continue
                }
                let scores = mi_scores(
                    values: logits.baseAddress.map { $0 + image * count }, height: Int64(shape.height), width: Int64(shape.width),
                    classes: Int64(head.classes), named: Int64(named), row: row?.typed(Float.self).baseAddress)
                try body(first + image, scores)
            }
        }
    }
}
