import CMRPKernels

/// The positions in visible cells of `side` x `side`, in images of `gridHeight * side` x `gridWidth * side`: `VisiblePlaces` of one
/// resolution of a network, made from a mask of cells.
///
/// Inputs: visible [B, K] int32, the cells of each image in any order, each once. Outputs, all int32: positions [B, K side^2], ascending in
/// the batch; rows [B, H W], their inverse or -1; and the same within each image: its pixels in order [B, K side^2], and the place of each
/// pixel among them, or -1, [B, H W].
public struct CellPlaces: Operation {
    let gridHeight: Int
    let gridWidth: Int
    let side: Int

    public init(gridHeight: Int, gridWidth: Int, side: Int) {
        self.gridHeight = gridHeight
        self.gridWidth = gridWidth
        self.side = side
    }

    public var name: String { "cell places" }

    public func outputTypes(_ inputs: [TensorType?]) throws -> [TensorType] {
        guard let visible = inputs.first ?? nil, visible.element == .int32, visible.shape.count == 2, side >= 1, gridHeight >= 1,
            gridWidth >= 1, visible.width <= gridHeight * gridWidth,
            visible.shape[0] * gridHeight * gridWidth * side * side <= Int(Int32.max)
        else { throw shapeError(name, "needs at most \(gridHeight * gridWidth) cells of each image") }
        let rows = TensorType([visible.shape[0], visible.width * side * side], .int32)
        let area = TensorType([visible.shape[0], gridHeight * gridWidth * side * side], .int32)
        return [rows, area, rows, area]
    }

    /// Cells that are out of range or named twice leave the rest of the outputs at values that are in range.
    public func kernel(_ call: KernelCall) -> Kernel {
        let (batch, count) = (call.type(0).shape[0], call.type(0).width)
        let (cells, width, height) = (gridHeight * gridWidth, gridWidth * side, gridHeight * side)
        let (visible, kept, area, side, gridWidth) = (call.indices(0), count * side * side, height * width, side, gridWidth)
        let outputs = call.outputs.map { $0?.assumingMemoryBound(to: Int32.self) }
        return Kernel {
            guard let visible, let positions = outputs[0], let rows = outputs[1], let pixels = outputs[2], let places = outputs[3] else {
                return
            }
            positions.update(repeating: 0, count: batch * kept)
            pixels.update(repeating: 0, count: batch * kept)
            for image in 0..<batch {
                let (row, place) = (rows + image * area, places + image * area)
                row.update(repeating: -1, count: area)
                place.update(repeating: -1, count: area)
                for index in 0..<count {
                    let cell = Int(visible[image * count + index])
                    guard cell >= 0, cell < cells else { continue }
                    let corner = cell / gridWidth * side * width + cell % gridWidth * side
                    for y in 0..<side { (place + corner + y * width).update(repeating: 0, count: side) }
                }
                var next = 0
                for pixel in 0..<area where place[pixel] == 0 {
                    place[pixel] = Int32(next)
                    row[pixel] = Int32(image * kept + next)
                    pixels[image * kept + next] = Int32(pixel)
                    positions[image * kept + next] = Int32(image * area + pixel)
                    next += 1
                }
            }
        }
    }
}

extension VisiblePlaces {
    /// The places of visible cells [B, K] at the resolution at which a cell has `side` x `side` positions.
    public init(of visible: Value, gridHeight: Int, gridWidth: Int, side: Int, in graph: Graph) throws {
        let outputs = try graph.apply(CellPlaces(gridHeight: gridHeight, gridWidth: gridWidth, side: side), [visible])
        self.init(positions: outputs[0], rows: outputs[1], pixels: outputs[2], places: outputs[3])
    }
}

extension CellPlaces: HostOperation {}
