import CMRPKernels

/// Visible positions of a batch of images at one resolution, for tensors that hold these positions only. All values are int32.
public struct VisiblePlaces {
    /// [B, K], ascending: (image * height + y) * width + x.
    public let positions: Value
    /// [B, H W], the inverse of `positions`: the row of each position, or -1.
    public let rows: Value
    /// `positions` counted within each image, [B, K], for gathering.
    public let pixels: Value
    /// `rows` counted within each image, [B, H W], for gathering.
    public let places: Value
}

/// Four inputs of a window operation: positions and rows of its input tensor, then of its output tensor.
struct PlaceInputs {
    let first: Int

    static func values(_ input: VisiblePlaces?, _ output: VisiblePlaces?) -> [Value?] {
        [input?.positions, input?.rows, output?.positions, output?.rows]
    }

    func places(_ call: KernelCall, at index: Int, height: Int, width: Int, batch: Int) -> mk_places {
        mk_places(
            count: Int64(call.inputType(first + index)?.count ?? batch * height * width), positions: call.indices(first + index),
            rows: call.indices(first + index + 1))
    }

    /// Checks the shapes of the places that begin at `index`; rows of one image of that tensor.
    func rows(_ inputs: [TensorType?], at index: Int, height: Int, width: Int, batch: Int, _ name: String) throws -> Int {
        guard inputs.count > first + index + 1, let positions = inputs[first + index], let rows = inputs[first + index + 1] else {
            return height * width
        }
        guard positions.element == .int32, rows.element == .int32, positions.shape.count == 2, positions.shape[0] == batch,
            rows.count == batch * height * width
        else { throw shapeError(name, "places of shape \(positions.shape) and \(rows.shape) for \(batch) images of \(height) x \(width)") }
        return positions.shape[1]
    }
}
