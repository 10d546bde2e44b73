import CMRPImage
import MRPEngine

/// A change of an 8-bit image of 1 or 3 channels, with the pixels that Pillow 13 gives (ImageOps, ImageEnhance, Image.transform, bicubic).
public enum PixelOperation: Equatable, Sendable {
    case autoContrast
    case equalize
    case invert
    /// Counter-clockwise, around the centre.
    case rotate(degrees: Double)
    /// The highest bits of each value are kept, 0 ... 8.
    case posterize(bits: Int)
    /// Values from the threshold on are inverted.
    case solarize(threshold: Int)
    /// Adds to the values below 128.
    case solarizeAdd(Int)
    /// 0: gray, 1: unchanged, above: stronger; so do the next three.
    case color(Double)
    case contrast(Double)
    case brightness(Double)
    case sharpness(Double)
    /// Gaussian of this deviation in pixels (ImageFilter.GaussianBlur), 0 ... 8192.
    case blur(deviation: Double)
    /// By this share of a turn, -1/2 ... 1/2, as torchvision's adjust_hue; 3 channels only.
    case hue(Double)
    case shearX(Double)
    case shearY(Double)
    /// As a share of the width or the height.
    case translateX(Double)
    case translateY(Double)

    /// Replaces the workspace's image; `fill` is the colour of what comes from outside of it, one value per channel. Errors: `.argument` when
    /// the image has other channels or another type, `.memory`.
    public func apply(_ workspace: ImageWorkspace, fill: [UInt8], _ name: String) throws {
        try check(workspace.image, name)
        switch self {
        case .autoContrast: try Self.map(workspace) { mi_table_autocontrast($0, $1) }
        case .equalize: try Self.map(workspace) { mi_table_equalize($0, $1) }
        case .invert: try Self.map(workspace) { 255 - $0 }
        case .posterize(let bits):
            let dropped = 8 - min(max(bits, 0), 8)
            try Self.map(workspace) { ($0 >> dropped) << dropped }
        case .solarize(let threshold): try Self.map(workspace) { $0 < threshold ? $0 : 255 - $0 }
        case .solarizeAdd(let amount): try Self.map(workspace) { $0 < 128 ? min(255, $0 + amount) : $0 }
        case .contrast(let factor):
            var image = workspace.image
            let mean = mi_mean_gray(&image)
            try Self.map(workspace) { mi_table_blend(mean, Float(factor), $1) }
        case .brightness(let factor): try Self.map(workspace) { mi_table_blend(0, Float(factor), $1) }
        case .color(let factor):
            guard workspace.image.channels == 3 else { return }  // gray is gray
            try Self.replace(workspace) { mi_blend_gray(&$0, Float(factor), &$1) }
        case .sharpness(let factor): try Self.replace(workspace) { mi_sharpen(&$0, Float(factor), &$1) }
        case .blur(let deviation):
            let (size, channels) = (workspace.image.size, Int64(workspace.image.channels))
            guard deviation > 0 else { return }
            let bytes = Int(mi_blur_scratch(Int64(size.height), Int64(size.width), channels))
            let memory = try Memory(bytes: bytes, for: "blurring an image of \(size)")
            try withExtendedLifetime(memory) {
                let scratch = memory.typed(UInt8.self).baseAddress
                try Self.replace(workspace) { mi_gaussian_blur(&$0, Float(min(deviation, 8_192)), scratch, &$1) }
            }
        case .hue(let turns):
            let turn = UInt8(truncatingIfNeeded: Int(max(-0.5, min(turns, 0.5)) * 255))
            try Self.replace(workspace) { mi_turn_hue(&$0, turn, &$1) }
        case .rotate(let degrees):
            guard degrees.truncatingRemainder(dividingBy: 360) != 0 else { return }
            var map = [Double](repeating: 0, count: 6)
            mi_rotation(degrees, workspace.image.width, workspace.image.height, &map)
            try workspace.transform(map, fill: fill)
        case .shearX(let factor): try workspace.transform([1, factor, 0, 0, 1, 0], fill: fill)
        case .shearY(let factor): try workspace.transform([1, 0, 0, factor, 1, 0], fill: fill)
        case .translateX(let share): try workspace.transform([1, 0, share * Double(workspace.image.width), 0, 1, 0], fill: fill)
        case .translateY(let share): try workspace.transform([1, 0, 0, 0, 1, share * Double(workspace.image.height)], fill: fill)
        }
    }

    static func check(channels: Int, _ name: String) throws {
        guard channels == 1 || channels == 3 else {
            throw MRPError(.argument, "\(name) is made for images of 1 or 3 channels, these have \(channels)")
        }
    }

    func check(channels: Int, _ name: String) throws {
        if case .hue = self, channels != 3 {
            throw MRPError(.argument, "\(name) is made for images of 3 channels, these have \(channels)")
        }
        try Self.check(channels: channels, name)
    }

    private func check(_ image: PixelView, _ name: String) throws {
        try check(channels: Int(image.channels), name)
        guard image.pixelType == .uint8 else {
            throw MRPError(.argument, "\(name) is made for 8-bit images, these are \(image.pixelType == .uint16 ? "16-bit" : "floats")")
        }
    }

    private static func replace(_ workspace: ImageWorkspace, _ body: (inout PixelView, inout PixelView) -> Void) throws {
        try workspace.pixels.replace(workspace.image.size, body)
    }

    /// Each value by a table that `fill` makes of a channel's histogram.
    private static func map(
        _ workspace: ImageWorkspace, fill: (UnsafePointer<Int64>, UnsafeMutablePointer<UInt8>) -> Void
    ) throws {
        let channels = Int(workspace.image.channels)
        try withUnsafeTemporaryAllocation(of: Int64.self, capacity: 256 * 3) { counts in
            try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 256 * 3) { tables in
                guard let counts = counts.baseAddress, let tables = tables.baseAddress, channels <= 3 else { return }
                var image = workspace.image
                mi_histogram(&image, counts)
                for channel in 0..<channels { fill(counts + 256 * channel, tables + 256 * channel) }
                try replace(workspace) { mi_apply_tables(&$0, tables, &$1) }
            }
        }
    }

    /// Each value by a function of it.
    private static func map(_ workspace: ImageWorkspace, _ value: (Int) -> Int) throws {
        try map(workspace) { _, table in
            for v in 0..<256 { table[v] = UInt8(truncatingIfNeeded: value(v)) }
        }
    }
}
