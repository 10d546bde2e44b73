import MRPData
import MRPEngine
import MRPModels
import MRPObjectives

extension Inference {
    /// Mean and deviation with which standardised patches are shown.
    public enum PatchStatistics: String, CaseIterable, Sendable { case own, visible }

    /// Memory that `reconstruct` writes; each part may be nil.
    public struct ReconstructionOutput {
        /// The images as the network sees them, [count, C, H, W] in 0 ... 1 (floats in their own units).
        public var images: UnsafeMutablePointer<Float>?
        /// The visible patches as they are, the hidden ones as predicted, same layout and units.
        public var reconstructions: UnsafeMutablePointer<Float>?
        /// [count, L]: 1 = hidden, 0 = visible.
        public var masks: UnsafeMutablePointer<UInt8>?

        public init(
            images: UnsafeMutablePointer<Float>? = nil, reconstructions: UnsafeMutablePointer<Float>? = nil,
            masks: UnsafeMutablePointer<UInt8>? = nil
        ) {
            self.images = images
            self.reconstructions = reconstructions
            self.masks = masks
        }
    }

    /// Hides patches of each image (at random by the seed, or as `mask` [count, L] says) and predicts them.
    ///
    /// With `norm_pix_loss` the network predicts standardised patches. To show them, each gets back the mean and the deviation of its own hidden
    /// pixels, as in the pictures of He et al. 2021: these tell a part of what was hidden. Option `patch_statistics` = visible takes those of
    /// the image's visible pixels instead, so that nothing hidden is seen. Returns the mean loss, or nil when it was cancelled.
    public func reconstruct(
        _ dataset: ImageDataset, mask: UnsafeBufferPointer<UInt8>? = nil, into output: ReconstructionOutput
    ) throws -> Double? {
        guard var objective = model.objective?.reconstruction else {
            throw MRPError(.state, "the model has no decoder to reconstruct with: pretrain it first")
        }
        let geometry = model.encoder.geometry
        let count = geometry.count
        let visibleCount: Int
        if let mask {
            visibleCount = try PatchMask(mask: mask, batch: dataset.count, count: count).visibleCount
        } else {
            visibleCount = try objective.visibleCount(ratio: options[ObjectiveOptions.maskRatio])
        }
        objective = objective.withVisibleCount(visibleCount)
        let normalizesTargets = objective.normalizesTargets
        let isHonest = options[FeatureOptions.patchStatistics] == .visible
        let batch = min(Self.largestBatch, dataset.count)
        var current = try PatchMask.random(
            BatchSlice(whole: batch), count: count, visibleCount: visibleCount, seed: options.seed, step: 0)
        var (loss, shown) = (0.0, 0)
        let finished = try run(dataset) { builder, size in
            try objective.prediction(builder, batch: size)
        } prepare: { program, data, first in
            if let mask {
                // Unused rows of the last batch repeat its first image's mask.
                let memory = try Memory(batch * count, elementBytes: 1, for: "the masks of \(batch) images")
                let rows = memory.typed(UInt8.self)
                for image in 0..<batch {
                    let source = (first + (image < data.count ? image : 0)) * count
                    _ = rows[(image * count)..<((image + 1) * count)].update(fromContentsOf: mask[source..<(source + count)])
                }
                current = try PatchMask(mask: UnsafeBufferPointer(rows), batch: batch, count: count)
            } else {
                current = try PatchMask.random(
                    BatchSlice(whole: batch), count: count, visibleCount: visibleCount, seed: options.seed, step: first)
            }
            try current.fill(program)
        } collect: { predictions, data, first in
            guard let prediction = predictions.baseAddress else { return }
            for image in 0..<data.count {
                guard data.holds(image, first: first) else {
                    leaveOut(output, image: first + image)
                    continue
                }
                shown += 1
                loss += show(
                    data.images + image * geometry.patchValues * count, prediction + image * geometry.patchValues * count,
                    hidden: current.hidden(image: image), normalizesTargets: normalizesTargets, isHonest: isHonest, output,
                    image: first + image)
            }
        }
        return finished ? loss / Double(shown) : nil
    }

    /// The results of an image that cannot be read: NaN, and nothing hidden.
    private func leaveOut(_ output: ReconstructionOutput, image index: Int) {
        let geometry = model.encoder.geometry
        let values = geometry.patchValues * geometry.count
        for pixels in [output.images, output.reconstructions] {
            pixels.map { ($0 + index * values).update(repeating: .nan, count: values) }
        }
        output.masks.map { ($0 + index * geometry.count).update(repeating: 0, count: geometry.count) }
    }

    /// Mean and deviation of an image's visible values, as the network sees them; nil when there are none.
    private func visibleStatistics(_ image: UnsafePointer<Float>, hidden: [Bool]) -> (mean: Double, std: Double)? {
        let geometry = model.encoder.geometry
        var (sum, squares, count) = (0.0, 0.0, 0)
        for row in 0..<geometry.channels * geometry.height {
            for column in 0..<geometry.width {
                let patch = row % geometry.height / geometry.patchHeight * geometry.gridWidth + column / geometry.patchWidth
                guard !hidden[patch] else { continue }
                let value = Double(image[row * geometry.width + column])
                (sum, squares, count) = (sum + value, squares + value * value, count + 1)
            }
        }
        guard count > 0 else { return nil }
        let mean = sum / Double(count)
        return (mean, (max(squares / Double(count) - mean * mean, 0) + 1e-6).squareRoot())
    }

    /// Writes one image's results and returns its loss.
    private func show(
        _ image: UnsafePointer<Float>, _ prediction: UnsafePointer<Float>, hidden: [Bool], normalizesTargets: Bool, isHonest: Bool,
        _ output: ReconstructionOutput, image index: Int
    ) -> Double {
        let visible = normalizesTargets && isHonest ? visibleStatistics(image, hidden: hidden) : nil
        let geometry = model.encoder.geometry
        let normalization = model.normalization ?? .identity(channels: geometry.channels)
        let plane = geometry.height * geometry.width
        let values = geometry.patchValues
        let start = index * plane * geometry.channels
        var loss = 0.0
        for patch in 0..<geometry.count {
            let (top, left) = (patch / geometry.gridWidth * geometry.patchHeight, patch % geometry.gridWidth * geometry.patchWidth)
            /// Visits the patch's values in the order of the prediction: row, column, channel.
            func visit(_ body: (_ offset: Int, _ channel: Int, _ place: Int) -> Void) {
                for place in 0..<values {
                    let (pixel, channel) = (place / geometry.channels, place % geometry.channels)
                    let row = top + pixel / geometry.patchWidth
                    body(channel * plane + row * geometry.width + left + pixel % geometry.patchWidth, channel, place)
                }
            }
            var (sum, squares) = (0.0, 0.0)
            visit { offset, _, _ in sum += Double(image[offset]) }
            let mean = sum / Double(values)
            visit { offset, _, _ in squares += (Double(image[offset]) - mean) * (Double(image[offset]) - mean) }
            let std = (squares / Double(max(values - 1, 1)) + 1e-6).squareRoot()
            let (shift, scale) = normalizesTargets ? (mean, std) : (0, 1)
            let (shownShift, shownScale) = visible.map { ($0.mean, $0.std) } ?? (shift, scale)
            var patchLoss = 0.0
            visit { offset, channel, place in
                let truth = Double(image[offset])
                let predicted = Double(prediction[patch * values + place])
                if hidden[patch] {
                    let difference = predicted - (truth - shift) / scale
                    patchLoss += difference * difference / Double(values)
                }
                let pixels = { (value: Double) in
                    Float(value * normalization.std[channel] + normalization.mean[channel])
                }
                output.images?[start + offset] = pixels(truth)
                output.reconstructions?[start + offset] = pixels(hidden[patch] ? predicted * shownScale + shownShift : truth)
            }
            output.masks?[index * geometry.count + patch] = hidden[patch] ? 1 : 0
            loss += patchLoss
        }
        return loss / Double(hidden.reduce(0) { $0 + ($1 ? 1 : 0) })
    }
}
