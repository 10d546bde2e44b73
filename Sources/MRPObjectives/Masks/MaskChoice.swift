import MRPEngine
import MRPModels

/// Which patches an objective hides: a pattern and a share.
public struct MaskChoice: Equatable, Sendable {
    public let pattern: MaskPattern
    public let ratio: Double
    /// Whether the number of visible patches is rounded to the nearest, as SparK does, else down, as MAE does.
    public let roundsToNearest: Bool

    public init(_ pattern: MaskPattern, ratio: Double, roundsToNearest: Bool = false) {
        self.pattern = pattern
        self.ratio = ratio
        self.roundsToNearest = roundsToNearest
    }

    /// Throws when such masks do not fit the images: what `visibleCount` refuses, or a grid too small for blocks.
    public func check(_ geometry: PatchGeometry) throws {
        if pattern == .multiBlock { _ = try TargetBlocks(gridHeight: geometry.gridHeight, gridWidth: geometry.gridWidth) }
        _ = try visibleCount(geometry)
    }

    /// Patches that stay visible with the share `ratio` hidden, by default its own; throws when a share leaves none, or hides none.
    public func visibleCount(_ geometry: PatchGeometry, ratio: Double? = nil) throws -> Int {
        let ratio = ratio ?? self.ratio
        return try roundsToNearest
            ? PatchMask.roundedVisibleCount(cells: geometry.count, ratio: ratio)
            : PatchMask.visibleCount(patches: geometry.count, ratio: ratio)
    }

    func hiddenCount(_ geometry: PatchGeometry) throws -> Int { try geometry.count - visibleCount(geometry) }

    /// Fills the masks of a step, the caller's or those of the pattern; false when the caller stops the run. `visibleCount` takes the place
    /// of the ratio's.
    func prepare(_ step: TrainingStep, _ geometry: PatchGeometry, visibleCount: Int? = nil, _ program: any Program) throws -> Bool {
        let visible = try visibleCount ?? self.visibleCount(geometry)
        guard let masking = step.masking else {
            try pattern.mask(geometry, visibleCount: visible, slice: step.slice, seed: step.seed, step: step.step).fill(program)
            return true
        }
        let mask = try PatchMask.given(masking, step, count: geometry.count, visibleCount: visible, rule: "mask_ratio \(ratio)")
        try mask?.fill(program)
        return mask != nil
    }
}
