import MRPOptions

/// Everything about a convolutional network beside its family and size: stem, width, images.
public struct NetworkShape: Sendable {
    public var stem: Stem
    /// Channels of the first stage; nil: the usual ones of the size.
    public var baseWidth: Int?
    public var channels: Int
    public var height: Int
    public var width: Int
    /// Side of the cells of a mask in pixels; nil: the network's downsampling.
    public var cellSize: Int?

    public init(stem: Stem, baseWidth: Int? = nil, channels: Int, height: Int, width: Int, cellSize: Int? = nil) {
        self.stem = stem
        self.baseWidth = baseWidth
        self.channels = channels
        self.height = height
        self.width = width
        self.cellSize = cellSize
    }

    init(_ options: Options) {
        let (height, width) = (options[NetworkOptions.imageHeight], options[NetworkOptions.imageWidth])
        self.init(
            stem: options[NetworkOptions.stem] ?? (min(height, width) < 64 ? .cifar : .imagenet),
            baseWidth: options[NetworkOptions.width], channels: options[NetworkOptions.channels], height: height, width: width,
            cellSize: options[NetworkOptions.cellSize])
    }
}
