import MRPEngine

/// Classes of pixels: the maps of a feature pyramid are enlarged (bilinear) to the finest and added, then a 3 x 3 convolution with batch norm
/// and ReLU, and a linear layer (the semantic branch of Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", made smaller).
public struct SegmentationHead: Head, Equatable {
    public static let name = "segment"
    public static let most = 65_535

    public let classes: Int
    public let pyramid: FeaturePyramid

    /// Names of its weights in files.
    public static let names =
        FeaturePyramid.names + ["segment_head.conv", "segment_head.norm", "segment_head.classifier"].map { NameRow($0) }

    /// Errors: `.argument`.
    public init(classes: Int, pyramid: FeaturePyramid) throws {
        guard (2...Self.most).contains(classes) else {
            throw MRPError(.argument, "\(classes) classes of pixels are outside 2 ... \(Self.most)")
        }
        (self.classes, self.pyramid) = (classes, pyramid)
    }

    public var isDense: Bool { true }

    public var settings: [(key: String, value: JSON)] {
        [("classes", .integer(classes)), ("pyramid_width", .integer(pyramid.width))]
    }

    public func parameters(on encoder: any ImageEncoder) throws -> [ParameterSpecification] {
        let width = pyramid.width
        var list = try pyramid.parameters(on: encoder)
        list.append(FeaturePyramid.convolution("segment_head.conv", from: width, to: width, kernel: 3))
        list += batchNormParameters("segment_head.norm", width: width)
        list.append(ParameterSpecification("segment_head.classifier.weight", [classes, width], .normal(std: 0.01)))
        list.append(ParameterSpecification("segment_head.classifier.bias", [classes], .zeros, role: .bias))
        return list
    }

    /// Scores before the softmax at the pyramid's finest resolution, [B, H' W', classes].
    public func map(
        _ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder, encoderBuilder: NetworkBuilder? = nil
    ) throws -> FeatureMap {
        let graph = builder.graph
        var x = try FeaturePyramid.sum(pyramid.maps(images, of: encoder, builder, encoderBuilder: encoderBuilder), graph)
        x = try x.convolution(builder.weight("segment_head.conv.weight"), kernel: 3, stride: 1, visible: nil, graph)
        x.value = try builder.batchNorm("segment_head.norm", x.value, .relu, epsilon: FeaturePyramid.epsilon)
        x.value = try builder.linear("segment_head.classifier", x.value)
        return x
    }

    /// Scores before the softmax of each pixel that the network sees, [B, H W, classes].
    public func outputs(_ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder) throws -> Value {
        try enlarged(map(images, of: encoder, builder), encoder, builder.graph)
    }

    /// A map of scores, bilinearly enlarged to the pixels that the network sees.
    public func enlarged(_ map: FeatureMap, _ encoder: any ImageEncoder, _ graph: Graph) throws -> Value {
        let (height, width) = (encoder.geometry.height, encoder.geometry.width)
        guard (map.height, map.width) != (height, width) else { return map.value }
        return try graph.apply(ResizeBilinear(from: (map.height, map.width), to: (height, width)), [map.value])[0]
    }
}
