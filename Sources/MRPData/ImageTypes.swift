import CMRPImage
import MRPEngine

/// Height and width in pixels.
public struct ImageSize: Equatable, Sendable, CustomStringConvertible {
    public var height: Int
    public var width: Int

    public init(height: Int, width: Int) {
        self.height = height
        self.width = width
    }

    public var description: String { "\(height) x \(width)" }

    /// Errors: `.argument` when a side is outside 1 ... 65536.
    func check(_ what: @autoclosure () -> String) throws {
        for (name, side) in [("height", height), ("width", width)] where side < 1 || side > Int(MI_MAX_SIDE) {
            throw MRPError(.argument, "\(what()) \(name) \(side) is outside 1 ... \(MI_MAX_SIDE)")
        }
    }
}

/// Representation of a stored value. Integers count as fractions of 255 or 65535 when images become float32.
public enum PixelType: Int32, Sendable, CaseIterable {
    case uint8 = 0
    case uint16 = 1
    case float32 = 2

    public var bytes: Int { self == .uint8 ? 1 : self == .uint16 ? 2 : 4 }
    /// The stored value that means 1.
    public var range: Double { self == .uint8 ? 255 : self == .uint16 ? 65535 : 1 }
}

/// Representation of a pixel's id in a mask.
public enum TargetType: Int32, Sendable, CaseIterable {
    case uint8 = 0
    case uint16 = 1
    case int32 = 3

    public var bytes: Int { Int(mi_element_bytes(rawValue)) }
    public var range: ClosedRange<Int32> { self == .uint8 ? 0...255 : self == .uint16 ? 0...65535 : Int32.min...Int32.max }
}

/// Order of the values of an image: channels x height x width, or height x width x channels.
public enum PixelLayout: Sendable {
    case channelsFirst
    case channelsLast
}

/// An image as datasets and augmentations see it: rows of interleaved pixels. It does not own its memory.
public typealias PixelView = mi_image

extension mi_image {
    /// Packed rows at `pixels`.
    public init(_ pixels: UnsafeMutableRawPointer, _ size: ImageSize, channels: Int, type: PixelType) {
        self.init(pixels, size, channels: channels, elementType: type.rawValue)
    }

    /// Packed rows of a mask at `ids`.
    public init(ids: UnsafeMutableRawPointer, _ size: ImageSize, type: TargetType) {
        self.init(ids, size, channels: 1, elementType: type.rawValue)
    }

    init(_ pixels: UnsafeMutableRawPointer, _ size: ImageSize, channels: Int, elementType: Int32) {
        self.init(
            pixels: pixels, row_bytes: Int64(size.width * channels) * mi_element_bytes(elementType), height: Int64(size.height),
            width: Int64(size.width), channels: Int64(channels), type: elementType)
    }

    public var size: ImageSize { ImageSize(height: Int(height), width: Int(width)) }
    public var pixelType: PixelType { PixelType(rawValue: type) ?? .uint8 }

    /// The part of `size` whose upper left corner is at (top, left); the caller checked that it lies inside.
    public func cropped(top: Int, left: Int, _ size: ImageSize) -> mi_image {
        var view = self
        view.pixels = pixels + top * Int(row_bytes) + left * Int(channels * mi_element_bytes(type))
        view.height = Int64(size.height)
        view.width = Int64(size.width)
        return view
    }
}
