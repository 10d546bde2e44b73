import CMRPKernels

/// The visible positions of a batch of images at one resolution, for tensors that hold no others: `positions` [B, K] int32, ascending
/// ((image * height + y) * width + x), and `rows` [B, H W] int32, the inverse: the row of each position, or -1. `pixels` and `places` are
/// the same, counted within each image, for gathering.
public struct VisiblePlaces {
    public let positions: Value
    public let rows: Value
    public let pixels: Value
    public let places: Value
}

/// Where the places of a window operation's two tensors stand among a node's inputs: positions and rows of in, then of out.
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

    /// Rows of one image of the tensor whose places begin at `index`, having checked their shapes.
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
