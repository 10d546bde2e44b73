import MRPEngine

/// The cells of masked images that a convolutional network sees, at each of its resolutions.
public struct VisibleCells {
    private let places: [Int: VisiblePlaces]

    /// `cells` [B, K] int32: the visible ones of each image of `geometry`, whose patches are the cells.
    public init(_ cells: Value, _ geometry: PatchGeometry, in graph: Graph) throws {
        var places: [Int: VisiblePlaces] = [:]
        var side = geometry.patchHeight
        while side >= 1 {
            places[geometry.gridHeight * side] = try VisiblePlaces(
                of: cells, gridHeight: geometry.gridHeight, gridWidth: geometry.gridWidth, side: side, in: graph)
            guard side.isMultiple(of: 2) else { break }
            side /= 2
        }
        self.places = places
    }

    /// The visible places of the resolution with this height.
    public func places(height: Int) throws -> VisiblePlaces {
        guard let found = places[height] else { throw MRPError(.internalError, "no cells for images of height \(height)") }
        return found
    }
}
