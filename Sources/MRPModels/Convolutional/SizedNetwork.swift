import MRPEngine
import MRPOptions

/// A convolutional network of one of some named sizes: all that its family shares with others in options and files.
public protocol SizedNetwork: ConvolutionalEncoder {
    static var sizeNames: [String] { get }
    /// `model_type` of its configurations.
    static var modelType: String { get }

    /// The network of the size with this name.
    init(named name: String, _ shape: NetworkShape) throws

    var sizeName: String { get }
    var stem: Stem { get }
    /// Channels of the first stage.
    var baseWidth: Int { get }
}

extension SizedNetwork {
    static var maximumBaseWidth: Int { 4_096 }

    static func sizedFamily(
        _ name: String, summary: String, names: StoredNames,
        infer: @escaping @Sendable (WeightFile, _ notes: inout [String]) throws -> (any ImageEncoder)?
    ) -> EncoderFamily {
        EncoderFamily(
            name, sizes: sizeNames, summary: summary, options: [NetworkOptions.width, NetworkOptions.stem, NetworkOptions.cellSize],
            modelTypes: [modelType], names: names, make: { try Self(named: $0, NetworkShape($1)) }, read: { try read($0) }, infer: infer)
    }

    /// Refuses a width that is not offered.
    static func check(baseWidth: Int) throws -> Int {
        guard baseWidth >= 1, baseWidth <= maximumBaseWidth else {
            throw MRPError(.argument, "encoder width \(baseWidth) is outside 1 ... \(maximumBaseWidth)")
        }
        return baseWidth
    }

    /// Refuses a pooling that the network does not offer.
    func check(_ pooling: Pooling) throws {
        guard pooling == .mean else {
            throw MRPError(.argument, "pooling \(pooling) needs a class token, \(sizeName) has none: use mean")
        }
    }

    // MARK: Configuration

    public func configuration(head: (any Head)?, objective: (any PretrainingObjective)?) -> [(key: String, value: JSON)] {
        let members: [(key: String, value: JSON)] = [
            ("model_type", .string(Self.modelType)), ("architecture", .string(sizeName)), ("stem", .string(stem.rawValue)),
            ("base_width", .integer(baseWidth)), ("image_size", .array([.integer(geometry.height), .integer(geometry.width)])),
            ("num_channels", .integer(geometry.channels)),
        ]
        return geometry.patchHeight > 1 ? members + [("cell_size", .integer(geometry.patchHeight))] : members
    }

    private static func read(_ file: EncoderFile) throws -> Self {
        let json = file.configuration
        let name = json["architecture"]?.string ?? ""
        guard sizeNames.contains(name) else {
            throw MRPError(.format, "the configuration has architecture '\(name)', which is none of: \(sizeNames)")
        }
        guard let stem = Stem(rawValue: json["stem"]?.string ?? ""), let width = json["base_width"]?.integer,
            let image = json["image_size"]?.array?.compactMap(\.integer), image.count == 2, let channels = json["num_channels"]?.integer
        else {
            throw MRPError(
                .format,
                "the configuration of a convolutional network needs architecture, stem, base_width, image_size, num_channels")
        }
        return try Self(
            named: name,
            NetworkShape(
                stem: stem, baseWidth: width, channels: channels, height: image[0], width: image[1], cellSize: json["cell_size"]?.integer))
    }

    // MARK: Weights without a configuration

    /// The network of this size whose first convolution has these channels. Shapes do not tell the size of its images: that of the options,
    /// or of timm's configuration, or the usual one.
    static func inferred(
        _ name: String, stem: Stem, baseWidth: Int, channels: Int, _ file: WeightFile, _ notes: inout [String]
    ) throws -> Self {
        let usual = stem == .imagenet ? 224 : 32
        var (height, width) = (usual, usual)
        if let givenHeight = file.options.given(NetworkOptions.imageHeight), let givenWidth = file.options.given(NetworkOptions.imageWidth)
        {
            (height, width) = (givenHeight, givenWidth)
        } else if let size = file.pretrained["input_size"]?.array?.compactMap(\.integer), size.count == 3 {
            (height, width) = (size[1], size[2])
        } else {
            notes.append("images of \(usual) x \(usual) are assumed: the file does not say their size (option image_size)")
        }
        return try MRPError.ofFile {
            try Self(named: name, NetworkShape(stem: stem, baseWidth: baseWidth, channels: channels, height: height, width: width))
        }
    }
}
