import MRPData
import MRPEngine
import MRPModels

/// The inputs of a step.
extension InstanceSegmentation {
    /// What was found in the images of a batch.
    private struct Found {
        /// Positive cells of each image.
        var positive: [Int]
        /// Whether any pixel of the image is known.
        var isKnown: [Bool]
    }

    public func prepare(_ step: TrainingStep, _ program: any Program) throws -> Bool {
        guard let ids = step.pixelTargets?.baseAddress else { throw MRPError(.internalError, "a batch without pixel masks") }
        let size = ImageSize(height: encoder.geometry.height, width: encoder.geometry.width)
        let targets = try InstanceTargets(size, grid: grid, map: map, most: most, ignored: ignored)
        var found = Found(
            positive: [Int](repeating: 0, count: step.batch), isKnown: [Bool](repeating: false, count: step.batch))
        try with(program, Input.objectness, as: Float.self) { objectness in
            try with(program, Input.cells, as: Int32.self) { cells in
                try with(program, Input.masks, as: Float.self) { masks in
                    try withForeground(program, step.batch) { foreground, stride in
                        for image in 0..<step.batch {
                            let places = InstanceTargets.Places(
                                objectness: objectness + image * self.cells, cells: cells + image * most,
                                masks: masks + image * most * self.places, foreground: foreground + image * stride)
                            found.positive[image] = targets.fill(places, from: ids + image * size.height * size.width)
                            try check(found.positive[image], step.indices[image])
                            found.isKnown[image] = UnsafeBufferPointer(start: places.foreground, count: self.places).contains { $0 >= 0 }
                        }
                    }
                }
            }
        }
        try fillFactors(program, found)
        return true
    }

    /// Objects are not left out silently.
    private func check(_ positive: Int, _ image: Int64) throws {
        guard positive > most else { return }
        throw MRPError(
            .argument,
            "image \(image) has \(positive) cells that learn a mask, positive_cells is \(most): set it to as many, or grid_stride higher")
    }

    private func with<Element>(
        _ program: any Program, _ name: String, as _: Element.Type, _ body: (UnsafeMutablePointer<Element>) throws -> Void
    ) throws {
        _ = try program.withInput(name, as: Element.self) { buffer -> Void in
            if let start = buffer.baseAddress { try body(start) }
        }
    }

    /// The maps of the foreground and the step from one to the next; without that branch one map that nobody reads.
    private func withForeground(
        _ program: any Program, _ batch: Int, _ body: (UnsafeMutablePointer<Float>, _ stride: Int) throws -> Void
    ) throws {
        guard !head.hasForeground else { return try with(program, Input.foreground, as: Float.self) { try body($0, places) } }
        let unread = try Memory(places, elementBytes: 4, for: "a map of \(map)")
        try withExtendedLifetime(unread) {
            if let start = unread.typed(Float.self).baseAddress { try body(start, 0) }
        }
    }

    /// Factors by which the means over all rows are those of the description.
    private func fillFactors(_ program: any Program, _ found: Found) throws {
        let (batch, all) = (found.positive.count, found.positive.reduce(0, +))
        let known = found.isKnown.count { $0 }
        try with(program, Input.objectnessFactors, as: Float.self) { factors in
            for image in 0..<batch { factors[image] = Float(batch * cells) / Float(all + 1) }
        }
        try with(program, Input.maskFactors, as: Float.self) { factors in
            for row in 0..<batch * most {
                factors[row] = row % most < found.positive[row / most] ? Float(batch * most) / Float(all) : 0
            }
        }
        try with(program, Input.foregroundFactors, as: Float.self) { factors in
            for image in 0..<batch { factors[image] = found.isKnown[image] ? Float(batch) / Float(known) : 0 }
        }
    }
}
