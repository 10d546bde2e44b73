import CMRPImage
import MRPData
import MRPEngine
import MRPModels
import MRPObjectives

extension Inference {
    /// What instances are worth against masks of objects, whatever their class, at the images' own sizes; overlaps are intersections over union.
    public struct InstanceEvaluation: DenseEvaluation {
        public static let main = "ap50"

        /// Mean over overlaps 0.5, 0.55 ... 0.95 of the share of objects that are among the 10 or 100 best instances of their image (COCO's AR).
        public internal(set) var recall10 = 0.0
        public internal(set) var recall100 = 0.0
        /// COCO's average precision at an overlap of 0.5.
        public internal(set) var precision50 = 0.0
        /// Share of objects found with at least `score_threshold` and an overlap of 0.5.
        public internal(set) var recall = 0.0
        /// Instances with such a score that are no object, per image with objects or ground.
        public internal(set) var falsePositives = 0.0
        public internal(set) var objects = 0

        public var measures: [(name: String, value: Double)] {
            [
                ("ap50", precision50), ("ar_10", recall10), ("ar_100", recall100), ("recall", recall), ("false_positives", falsePositives),
            ]
        }
    }

    /// Compares instances with masks of objects; nil when it was cancelled. Pixels that are not known count for nothing. Errors: `.argument` when
    /// the dataset has no masks of objects, or no object; `.state` without such a head.
    public func evaluateInstances(_ dataset: ImageDataset) throws -> InstanceEvaluation? {
        _ = try instanceHead()
        try dataset.requireMasks(.objects, for: "evaluation")
        let tally = try InstanceTally(
            images: dataset.count, most: mostInstances, threshold: Float(options[InstanceOptions.scoreThreshold]),
            ignored: dataset.ignoredId)
        let workspace = ImageWorkspace()
        let finished = try eachInstances(dataset) { index, found in
            guard var found else { return }
            try workspace.show(dataset.size(of: index))
            try dataset.loadTarget(index, into: workspace)
            guard let target = workspace.target, target.size == workspace.image.size else {
                throw MRPError(.argument, "\(dataset.name(of: index)): the pixel mask does not have the size of the image")
            }
            try tally.add(&found, target)
        }
        guard finished else { return nil }
        guard tally.objects > 0 else { throw MRPError(.argument, "the masks have no object") }
        return tally.result
    }
}

/// Counts of matches over images.
private final class InstanceTally {
    private let most: Int
    private let threshold: Float
    private let ignored: Int32
    private let places: Memory
    private let objectAreas: Memory
    /// Score and hit at an overlap of 0.5 of each instance of all images.
    private let scored: Memory
    private var scoredCount = 0
    private(set) var objects = 0
    /// Images with a known pixel.
    private var images = 0
    private var matched10 = 0
    private var matched100 = 0
    private var found = 0
    private var wrong = 0

    init(images: Int, most: Int, threshold: Float, ignored: Int32) throws {
        (self.most, self.threshold, self.ignored) = (most, threshold, ignored)
        let last = Int(MI_LAST_OBJECT)
        places = try Memory(last + 1, elementBytes: 4, zeroed: true, for: "the numbers of objects")
        objectAreas = try Memory(last, elementBytes: 8, for: "the areas of objects")
        scored = try Memory(
            checkedProduct([images, most]), elementBytes: MemoryLayout<mi_scored>.stride, for: "the scores of \(images) images")
    }

    func add(_ instances: inout mi_instances, _ target: PixelView) throws {
        guard let places = places.typed(Int32.self).baseAddress, let objectAreas = objectAreas.typed(Int64.self).baseAddress else { return }
        let view = [target]
        let own = Int(mi_list_objects(view, ignored, places, objectAreas, Int64(MI_LAST_OBJECT)))
        defer { mi_forget_objects(view, places) }
        let count = Int(instances.count)
        let overlaps = try Memory(
            checkedProduct([count, own + 1]) + 1, elementBytes: 8, zeroed: true, for: "the overlaps of \(own) objects")
        let scratch = try Memory(bytes: target.size.width + own + count, for: "an image of \(own) objects")
        let (line, taken) = (scratch.base.assumingMemoryBound(to: UInt8.self), scratch.typed(UInt8.self))
        guard let both = overlaps.typed(Int64.self).baseAddress, let bytes = taken.baseAddress else { return }
        let areas = both + count * own
        mi_overlaps(&instances, view, ignored, places, Int64(own), both, areas, line)
        let (claimed, hits) = (bytes + target.size.width, bytes + target.size.width + own)
        func match(_ first: Int, _ overlap: Double) -> Int {
            Int(mi_match(Int64(min(first, count)), Int64(own), both, areas, objectAreas, overlap, hits, claimed))
        }
        for step in 0..<10 {
            let overlap = 0.5 + 0.05 * Double(step)
            matched10 += match(10, overlap)
            matched100 += match(100, overlap)
        }
        found += match((0..<count).count { instances.scores[$0] >= threshold }, 0.5)
        objects += own
        images += (0..<count).contains { areas[$0] > 0 } || own > 0 ? 1 : 0
        _ = match(count, 0.5)
        for place in 0..<count where areas[place] > 0 {
            let order = Int64(scoredCount)
            scored.typed(mi_scored.self)[scoredCount] = mi_scored(score: instances.scores[place], is_hit: Int32(hits[place]), order: order)
            scoredCount += 1
            if instances.scores[place] >= threshold, hits[place] == 0 { wrong += 1 }
        }
    }

    var result: Inference.InstanceEvaluation {
        var result = Inference.InstanceEvaluation()
        let all = Double(objects)
        (result.recall10, result.recall100) = (Double(matched10) / (10 * all), Double(matched100) / (10 * all))
        (result.recall, result.falsePositives) = (Double(found) / all, Double(wrong) / Double(max(images, 1)))
        result.precision50 = mi_average_precision(scored.typed(mi_scored.self).baseAddress, Int64(scoredCount), Int64(objects))
        result.objects = objects
        return result
    }
}
