import CMRPImage
import MRPData
import MRPEngine
import MRPModels

/// Classes of pixels by a model with a dense head: maps at each image's own size, and what they are worth.
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
        try eachPart(dataset, into: output, valuesEach: 1, unreadable: .max) { scores, size, target in
            mi_class_map(&scores, [PixelView(ids: target, size, type: .uint16)])
        }
    }

    /// Writes the probabilities of the classes of each pixel, the classes of a pixel behind each other, for as many classes as `namedClasses`
    /// says; NaN for an image that cannot be read. Otherwise as `segment`.
    public func classShares(_ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<Float>) throws -> Bool {
        try eachPart(dataset, into: output, valuesEach: namedClasses(), unreadable: .nan) { scores, size, target in
            mi_class_shares(&scores, Int64(size.height), Int64(size.width), target)
        }
    }

    /// Fills an output with something of each pixel, image after image.
    private func eachPart<Element>(
        _ dataset: ImageDataset, into output: UnsafeMutableBufferPointer<Element>, valuesEach: Int, unreadable: Element,
        _ body: (inout mi_scores, ImageSize, UnsafeMutablePointer<Element>) throws -> Void
    ) throws -> Bool {
        var position = 0
        return try MapScores(self).each(dataset) { part in
            let count = part.size.height * part.size.width * valuesEach
            guard let start = output.baseAddress, position + count <= output.count else {
                throw MRPError(.argument, "the images have more pixels than the \(output.count) elements of the output")
            }
            let target = start + position
            position += count
            guard var scores = part.scores else { return target.update(repeating: unreadable, count: count) }
            try body(&scores, part.size, target)
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

        public init(classes: Int) throws {
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
        let finished = try MapScores(self).each(dataset) { part in
            guard var scores = part.scores else { return }
            if part.firstRow == 0 {
                try workspace.show(dataset.size(of: part.index))
                try dataset.loadTarget(part.index, into: workspace)
                guard workspace.target?.size == workspace.image.size else {
                    throw MRPError(.argument, "\(dataset.name(of: part.index)): the pixel mask does not have the size of the image")
                }
            }
            guard let target = workspace.target?.cropped(top: part.firstRow, left: 0, part.size) else { return }
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
}
