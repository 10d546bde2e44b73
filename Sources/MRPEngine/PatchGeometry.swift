/// Images [C, H, W] as a grid of patches of `patchHeight` x `patchWidth` pixels, row by row.
public struct PatchGeometry: Equatable, Sendable {
    public let channels: Int
    public let height: Int
    public let width: Int
    public let patchHeight: Int
    public let patchWidth: Int

    public static let maximumSide = 65_536
    public static let maximumChannels = 4_096

    public init(channels: Int, height: Int, width: Int, patchHeight: Int, patchWidth: Int) throws {
        guard channels > 0, height > 0, width > 0, patchHeight > 0, patchWidth > 0 else {
            throw MRPError(.argument, "image \(channels) x \(height) x \(width) and patch \(patchHeight) x \(patchWidth) must be positive")
        }
        // The limits of the options: sizes of files come here too, and are multiplied without further checks.
        guard max(height, width, patchHeight, patchWidth) <= Self.maximumSide, channels <= Self.maximumChannels else {
            throw MRPError(
                .argument,
                "image \(channels) x \(height) x \(width) and patch \(patchHeight) x \(patchWidth) are above the limits of \(Self.maximumSide) pixels a side and \(Self.maximumChannels) channels"
            )
        }
        guard height % patchHeight == 0, width % patchWidth == 0 else {
            throw MRPError(
                .argument,
                "image size \(height) x \(width) is not a multiple of the patch size \(patchHeight) x \(patchWidth)")
        }
        self.channels = channels
        self.height = height
        self.width = width
        self.patchHeight = patchHeight
        self.patchWidth = patchWidth
    }

    /// The same images with single pixels as patches.
    public init(pixelsOf other: PatchGeometry) {
        (channels, height, width, patchHeight, patchWidth) = (other.channels, other.height, other.width, 1, 1)
    }

    public var gridHeight: Int { height / patchHeight }
    public var gridWidth: Int { width / patchWidth }
    /// Patches per image, L.
    public var count: Int { gridHeight * gridWidth }
    /// Values per patch, p^2 C.
    public var patchValues: Int { patchHeight * patchWidth * channels }
    public var imageShape: [Int] { [channels, height, width] }
}
