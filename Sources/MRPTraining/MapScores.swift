import CMRPImage
import MRPData
import MRPEngine
import MRPModels
import MRPOptions

/// Scores of the classes of pixels over whole datasets, as option `map_mode` says: of all of an image at the network's size, or averaged over
/// windows at the image's own scale.
struct MapScores {
    let inference: Inference
    private let head: SegmentationHead
    private let named: Int
    private let slides: Bool
    private var model: Model { inference.model }

    /// Images, or windows, of a batch at most.
    private static let largestBatch = 16

    /// Some rows of an image, from the top to the bottom, and their scores, which are enlarged to them; nil when the image cannot be read.
    struct Part {
        let index: Int
        let firstRow: Int
        /// That of the part: its rows, and the columns of the image.
        let size: ImageSize
        let scores: mi_scores?
    }

    /// Errors: `.state` when the model has no head for pixels.
    init(_ inference: Inference) throws {
        self.inference = inference
        head = try inference.segmenter()
        named = try inference.namedClasses()
        slides = (inference.options[MapOptions.mode] ?? (head.keepsScale ? .slide : .whole)) == .slide
    }

    /// Runs the head over a dataset in order. Returns false when it was cancelled.
    func each(_ dataset: ImageDataset, _ body: (Part) throws -> Void) throws -> Bool {
        try slides ? eachInWindows(dataset, body) : eachWhole(dataset, body)
    }

    private func build(_ builder: NetworkBuilder, _ batch: Int) throws -> FeatureMap {
        try head.map(Inputs.images(builder.graph, model.encoder.geometry, batch: batch), of: model.encoder, builder)
    }

    private func scores(_ values: UnsafePointer<Float>?, _ height: Int, _ width: Int, _ row: Memory?) -> mi_scores {
        mi_scores(
            values: values, height: Int64(height), width: Int64(width), classes: Int64(head.classes), named: Int64(named),
            row: row?.typed(Float.self).baseAddress)
    }

    private func scratch(_ width: Int) throws -> Memory {
        try Memory((width + 1) * head.classes, elementBytes: 4, for: "a row of scores")
    }

    // MARK: All of an image

    private func eachWhole(_ dataset: ImageDataset, _ body: (Part) throws -> Void) throws -> Bool {
        var shape = (height: 0, width: 0)
        var row: Memory?
        return try inference.run(dataset, largestBatch: Self.largestBatch, whole: true) { builder, batch in
            let map = try build(builder, batch)
            shape = (map.height, map.width)
            row = try scratch(map.width)
            return map.value
        } collect: { logits, batch, first in
            let count = shape.height * shape.width * head.classes
            for image in 0..<batch.count {
                try Interruption.check()
                let (index, values) = (first + image, logits.baseAddress.map { $0 + image * count })
                let known = batch.holds(image, first: first) ? scores(values, shape.height, shape.width, row) : nil
                try body(Part(index: index, firstRow: 0, size: dataset.size(of: index), scores: known))
            }
        }
    }

    // MARK: Windows

    private func eachInWindows(_ dataset: ImageDataset, _ body: (Part) throws -> Void) throws -> Bool {
        try inference.check(dataset)
        let workspace = ImageWorkspace()
        var network: (compiled: Inference.Compiled, map: FeatureMap)?
        var unreadable: [Int: String] = [:]
        for index in 0..<dataset.count {
            try Interruption.check()
            do {
                try dataset.load(index, into: workspace)
            } catch let error as MRPError where inference.skipsUnreadable && error.isUnreadableImage {
                unreadable[index] = error.message
                try body(Part(index: index, firstRow: 0, size: dataset.size(of: index), scores: nil))
                continue
            }
            let windows = ImageWindows(
                workspace.image, named: dataset.name(of: index), size: Pipeline.imageSize(model),
                overlap: inference.options[MapOptions.overlap])
            // The largest batches that leave no place of the last one empty, or few.
            let batches = (windows.count + Self.largestBatch - 1) / Self.largestBatch
            let batch = (windows.count + batches - 1) / batches
            if network?.compiled.batch != batch {
                network = nil
                var map: FeatureMap?
                let compiled = try inference.compile(batch: batch) {
                    let made = try build($0, $1)
                    map = made
                    return [made.value]
                }
                network = map.map { (compiled, $0) }
            }
            guard let network else { throw MRPError(.internalError, "a segmenter without a map") }
            guard try run(network.compiled, network.map, windows, index, workspace.image.size, body) else { return false }
        }
        Inference.tell(unreadable, of: dataset.count)
        return true
    }

    /// Scores of one image. Only the rows that windows of one row cover are kept: those above the next row of windows are finished.
    private func run(
        _ compiled: Inference.Compiled, _ map: FeatureMap, _ windows: ImageWindows, _ index: Int, _ size: ImageSize,
        _ body: (Part) throws -> Void
    ) throws -> Bool {
        let (width, classes, room) = (size.width, head.classes, min(windows.size.height, size.height))
        let sums = try Memory(
            checkedProduct([room, width, classes]), elementBytes: 4, zeroed: true, for: "scores of \(room) x \(width) pixels")
        let weights = try Memory(room * width, elementBytes: 4, zeroed: true, for: "weights of \(room) x \(width) pixels")
        let (sum, weight) = (sums.typed(Float.self), weights.typed(Float.self))
        let (windowRow, bandRow) = (try scratch(map.width), try scratch(width))
        let loader = try Pipeline.evaluationLoader(windows, model, inference.options, batch: compiled.batch)
        var top = 0  // the image's row that is the first of the sums
        return try inference.run(compiled, over: loader, as: Float.self) { outputs, batch, first in
            for place in 0..<batch.count {
                let (number, window) = (first + place, windows.places[first + place])
                let values = outputs[0].baseAddress.map { $0 + place * map.height * map.width * classes }
                var own = scores(values, map.height, map.width, windowRow)
                mi_add_window(
                    &own, Int64(windows.size.height), Int64(windows.size.width), Int64(top - window.top), Int64(room), Int64(window.left),
                    sum.baseAddress, weight.baseAddress, Int64(width))
                guard (number + 1) % windows.columns == 0 else { continue }
                try Interruption.check()
                let next = number + 1 < windows.count ? windows.places[number + 1].top : size.height
                let done = next - top
                mi_mean_of_windows(sum.baseAddress, weight.baseAddress, Int64(done * width), Int64(classes))
                let finished = scores(sum.baseAddress, done, width, bandRow)
                try body(Part(index: index, firstRow: top, size: ImageSize(height: done, width: width), scores: finished))
                shift(sum, by: done * width * classes)
                shift(weight, by: done * width)
                top = next
            }
        }
    }

    /// Moves values to the front; zeros follow them.
    private func shift(_ values: UnsafeMutableBufferPointer<Float>, by count: Int) {
        guard let start = values.baseAddress else { return }
        start.update(from: start + count, count: values.count - count)
        (start + values.count - count).update(repeating: 0, count: count)
    }
}
