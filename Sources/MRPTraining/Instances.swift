import CMRPImage
import MRPData
import MRPEngine
import MRPModels
import MRPObjectives

/// Objects that a model with a head for instances finds. All of an image is resized to the network's size; masks are resized back (bilinear).
extension Inference {
    /// The model's head for instances. Errors: `.state` when it has none.
    func instanceHead() throws -> InstanceHead {
        guard let head = model.head as? InstanceHead else {
            let found = model.head.map { "its head is \($0.name)" } ?? "it has no head"
            throw MRPError(.state, "the model finds no instances, \(found): fine-tune it with task instances first")
        }
        return head
    }

    /// Instances of an image, at most.
    public var mostInstances: Int { options[InstanceOptions.mostInstances] }

    /// Results for the images of a dataset, image after image. `ids` are absent where nobody wants them.
    public struct InstanceOutputs {
        /// Instances of each image; -1 for one that cannot be read.
        public let counts: UnsafeMutableBufferPointer<Int64>
        /// `mostInstances` of each image, the best first, then NaN.
        public let scores: UnsafeMutableBufferPointer<Float>
        /// Left, top, right, bottom of each, one past the last pixel; 0 behind the last.
        public let boxes: UnsafeMutableBufferPointer<Int32>
        /// Number 1, 2, ... of the best instance of each pixel, at the image's own size, else 0.
        public let ids: UnsafeMutableBufferPointer<UInt16>?

        public init(
            counts: UnsafeMutableBufferPointer<Int64>, scores: UnsafeMutableBufferPointer<Float>, boxes: UnsafeMutableBufferPointer<Int32>,
            ids: UnsafeMutableBufferPointer<UInt16>?
        ) { (self.counts, self.scores, self.boxes, self.ids) = (counts, scores, boxes, ids) }
    }

    /// Finds the instances with at least option `score_threshold`. Returns false when it was cancelled. Errors: `.state` without such a head.
    public func instances(_ dataset: ImageDataset, into output: InstanceOutputs) throws -> Bool {
        let (most, threshold) = (mostInstances, Float(options[InstanceOptions.scoreThreshold]))
        output.scores.update(repeating: .nan)
        output.boxes.update(repeating: 0)
        var position = 0
        return try eachInstances(dataset) { index, found in
            let size = try dataset.size(of: index)
            let scratch = try Memory(
                size.height * size.width * 2 + size.width, elementBytes: 1, for: "the pixels of \(dataset.name(of: index))")
            let pixels = scratch.base.assumingMemoryBound(to: UInt16.self)
            let own = output.ids?.baseAddress.map { $0 + position } ?? pixels
            position += size.height * size.width
            guard output.ids.map({ position <= $0.count }) != false else {
                throw MRPError(.argument, "the images have more pixels than the output has elements")
            }
            guard var found else {
                output.counts[index] = -1
                return own.update(repeating: 0, count: size.height * size.width)
            }
            while found.count > 0, found.scores[Int(found.count) - 1] < threshold { found.count -= 1 }
            output.counts[index] = found.count
            for place in 0..<Int(found.count) { output.scores[index * most + place] = found.scores[place] }
            let line = (scratch.base + size.height * size.width * 2).assumingMemoryBound(to: UInt8.self)
            let view = PixelView(ids: own, size, type: .uint16)
            guard let boxes = output.boxes.baseAddress else { return }
            mi_paint_instances(&found, [view], boxes + 4 * index * most, line)
        }
    }

    /// Runs the head over a dataset in order; nil for an image that cannot be read.
    func eachInstances(_ dataset: ImageDataset, _ body: (_ index: Int, _ found: mi_instances?) throws -> Void) throws -> Bool {
        let head = try instanceHead()
        let most = mostInstances
        var cells = mi_cells()
        var memory: (scores: Memory, masks: Memory, scratch: Memory)?
        return try runAll(dataset, largestBatch: 16, whole: true, as: Float.self) { builder, batch in
            let answer = try head.answer(Inputs.images(builder.graph, model.encoder.geometry, batch: batch), of: model.encoder, builder)
            (cells.grid_rows, cells.grid_columns) = (Int64(answer.grid.rows), Int64(answer.grid.columns))
            (cells.map_rows, cells.map_columns) = (Int64(answer.features.height), Int64(answer.features.width))
            cells.channels = Int64(head.maskChannels)
            memory = (
                try Memory(most, elementBytes: 4, for: "\(most) scores"),
                try Memory(checkedProduct([2 * most, answer.places]), elementBytes: 4, for: "\(most) masks"),
                try Memory(bytes: Int(mi_find_scratch(&cells, Int64(most))), for: "\(most) masks")
            )
            return [answer.objectness, answer.kernels, answer.features.value]
        } collect: { outputs, batch, first in
            guard let memory else { return }
            let sizes = [1, head.maskChannels + 1].map { Int(cells.grid_rows * cells.grid_columns) * $0 }
            let places = Int(cells.map_rows * cells.map_columns) * head.maskChannels
            for image in 0..<batch.count {
                try Interruption.check()
                guard batch.holds(image, first: first) else {
                    try body(first + image, nil)
                    continue
                }
                cells.objectness = outputs[0].baseAddress.map { $0 + image * sizes[0] }
                cells.kernels = outputs[1].baseAddress.map { $0 + image * sizes[1] }
                cells.features = outputs[2].baseAddress.map { $0 + image * places }
                var found = mi_instances(
                    most: Int64(most), count: 0, map_rows: 0, map_columns: 0, scores: memory.scores.typed(Float.self).baseAddress,
                    masks: memory.masks.typed(Float.self).baseAddress)
                mi_find_instances(&cells, &found, memory.scratch.base)
                try body(first + image, found)
            }
        }
    }
}
