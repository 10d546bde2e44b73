import CMRPImage
import MRPEngine

/// Digests by which a dataset is known again, the same for the same images in the same order, whatever holds them.
///
/// Of images in memory all pixels count up to 256 MiB, of larger sets those of images at even distances that together are as large; of files
/// all names count, and the pixels of 16 images at even distances. An image that cannot be read counts as that.
public struct ContentDigest: Sendable {
    public let images: Digest
    /// nil: without labels.
    public let labels: Digest?
    /// nil: without pixel masks.
    public let masks: Digest?

    static let largestBytes = 256 << 20
    static let readFiles = 16

    /// Errors: `.memory`.
    public init(_ dataset: any ImageDataset) throws {
        var (images, masks) = (Digest(), Digest())
        let workspace = ImageWorkspace()
        let areFiles = dataset.fileName(of: 0) != nil
        if areFiles {
            for index in 0..<dataset.count { images.add(dataset.fileName(of: index) ?? "") }
        }
        var position = 0
        var left = areFiles ? min(dataset.count, Self.readFiles) : dataset.count
        // The first image tells how many there is room for.
        while left > 0 {
            let bytes = try Self.add(dataset, position, workspace, &images, &masks)
            if position == 0, !areFiles { left = min(left, max(Self.largestBytes / max(bytes, 1), 2)) }
            left -= 1
            guard left > 0 else { break }
            position += max((dataset.count - 1 - position) / left, 1)
        }
        self.images = images
        self.masks = dataset.hasTargets ? masks : nil
        labels = dataset.labels.map { values in
            var digest = Digest()
            digest.add(UnsafeRawBufferPointer(values))
            return digest
        }
    }

    /// Adds an image and its mask; returns the image's bytes.
    private static func add(
        _ dataset: any ImageDataset, _ index: Int, _ workspace: ImageWorkspace, _ images: inout Digest, _ masks: inout Digest
    ) throws -> Int {
        do {
            try dataset.load(index, into: workspace)
            add(workspace.image, to: &images)
            if dataset.hasTargets {
                try dataset.loadTarget(index, into: workspace)
                workspace.target.map { add($0, to: &masks) }
            }
            return Int(workspace.image.height * workspace.image.row_bytes)
        } catch let error as MRPError where error.code != .memory {
            images.add("unreadable")
            return 0
        }
    }

    private static func add(_ view: PixelView, to digest: inout Digest) {
        for number in [view.height, view.width, view.channels, Int64(view.type)] { digest.add(Int(number)) }
        let rowBytes = Int(view.width * view.channels * mi_element_bytes(view.type))
        if rowBytes == Int(view.row_bytes) {
            digest.add(UnsafeRawBufferPointer(start: view.pixels, count: rowBytes * Int(view.height)))
        } else {
            for row in 0..<Int(view.height) {
                digest.add(UnsafeRawBufferPointer(start: view.pixels + row * Int(view.row_bytes), count: rowBytes))
            }
        }
    }
}
