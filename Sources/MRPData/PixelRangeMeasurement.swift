import CMRPImage
import MRPEngine

extension PixelRange {
    /// The units of a dataset's images, and how many of them tell. Bytes are 0 ... 255; other types are looked at in at most `maximumImages`
    /// images, evenly spaced: the same ones at every call. Images that cannot be read are left out; nil where none can.
    public static func measured(on dataset: ImageDataset, maximumImages: Int = 16) -> (range: PixelRange, images: Int)? {
        if dataset.pixelType == .uint8 { return (PixelRange(type: "uint8", unit: 255, low: 0, high: 1), dataset.count) }
        let wanted = min(dataset.count, maximumImages)
        let workspace = ImageWorkspace()
        var types = Set<PixelType>()
        var (low, high, found) = (Double.infinity, -Double.infinity, 0)
        for i in 0..<wanted {
            let index = Int(Int64(i).multipliedFullWidth(by: Int64(dataset.count)).low / UInt64(wanted))
            guard (try? dataset.load(index, into: workspace)) != nil else { continue }
            var image = workspace.image
            var ends = (0.0, 0.0)
            mi_range(&image, &ends.0, &ends.1)
            types.insert(image.pixelType)
            low = min(low, ends.0 / image.pixelType.range)
            high = max(high, ends.1 / image.pixelType.range)
            found += 1
        }
        guard found > 0 else { return nil }
        let type = types.count == 1 ? types.first : nil
        return (PixelRange(type: type.map { "\($0)" } ?? "mixed", unit: type?.range ?? 1, low: low, high: high), found)
    }
}
