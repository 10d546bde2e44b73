import MRPEngine

/// Classes of pixels, of one of two forms.
///
/// - With a pyramid: its maps are enlarged (bilinear) to the finest and added, then a 3 x 3 convolution with batch norm and ReLU, and a linear
///   layer (the semantic branch of Kirillov et al. 2019, "Panoptic Feature Pyramid Networks", made smaller).
/// - Linear: batch norm and a linear layer on the encoder's last features (Oquab et al. 2023, "DINOv2"), a probe of a frozen encoder.
public struct SegmentationHead: Head, Equatable {
    public static let name = "segment"
    public static let most = 65_535

    public let classes: Int
    /// nil: linear.
    public let pyramid: FeaturePyramid?
    /// True when it learned parts of images at their own scale, and not images resized to the network's size.
    public var keepsScale = false

    /// Names of its weights in files.
    public static let names =
        FeaturePyramid.names + ["segment_head.conv", "segment_head.norm", "segment_head.classifier"].map { NameRow($0) }

    /// Errors: `.argument`.
    public init(classes: Int, pyramid: FeaturePyramid?) throws {
        guard (2...Self.most).contains(classes) else {
            throw MRPError(.argument, "\(classes) classes of pixels are outside 2 ... \(Self.most)")
        }
        (self.classes, self.pyramid) = (classes, pyramid)
    }

    public var isDense: Bool { true }

    public var settings: [(key: String, value: JSON)] {
        [("classes", .integer(classes))] + (pyramid.map { [("pyramid_width", .integer($0.width))] } ?? [])
            + (keepsScale ? [("keeps_scale", .bool(true))] : [])
    }

    public func isSame(as other: any Head) -> Bool {
        guard let other = other as? SegmentationHead else { return false }
        return (classes, pyramid) == (other.classes, other.pyramid)
    }

    public func parameters(on encoder: any ImageEncoder) throws -> [ParameterSpecification] {
        let width = pyramid?.width ?? encoder.featureWidth
        var list: [ParameterSpecification] = []
        if let pyramid {
            list = try pyramid.parameters(on: encoder)
            list.append(FeaturePyramid.convolution("segment_head.conv", from: width, to: width, kernel: 3))
        } else {
            _ = try Self.checked(encoder)
        }
        list += batchNormParameters("segment_head.norm", width: width)
        list.append(ParameterSpecification("segment_head.classifier.weight", [classes, width], .normal(std: 0.01)))
        list.append(ParameterSpecification("segment_head.classifier.bias", [classes], .zeros, role: .bias))
        return list
    }

    /// Scores before the softmax at the resolution of the pyramid's finest map, or of the encoder's features, [B, H' W', classes].
    public func map(
        _ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder, encoderBuilder: NetworkBuilder? = nil
    ) throws -> FeatureMap {
        var x: FeatureMap
        if let pyramid {
            x = try FeaturePyramid.sum(pyramid.maps(images, of: encoder, builder, encoderBuilder: encoderBuilder), builder.graph)
            x = try x.convolution(builder.weight("segment_head.conv.weight"), kernel: 3, stride: 1, visible: nil, builder.graph)
            x.value = try builder.batchNorm("segment_head.norm", x.value, .relu, epsilon: FeaturePyramid.epsilon)
        } else {
            x = try Self.features(images, of: encoder, builder, encoderBuilder ?? builder)
            x.value = try builder.batchNorm("segment_head.norm", x.value, epsilon: FeaturePyramid.epsilon)
        }
        x.value = try builder.linear("segment_head.classifier", x.value)
        return x
    }

    /// The last stage, or the normed tokens of the patches.
    private static func features(
        _ images: Value, of encoder: any ImageEncoder, _ builder: NetworkBuilder, _ encoderBuilder: NetworkBuilder
    ) throws -> FeatureMap {
        if let encoder = encoder.convolutionalEncoder {
            let stages = try encoder.stages(images, last: encoder.depth, visible: nil, encoderBuilder)
            return stages[stages.count - 1]
        }
        let geometry = try checked(encoder).geometry
        let tokens = try encoder.features(images, layer: nil, pooling: nil, encoderBuilder)
        let first: Int32 = encoder.hasClassToken ? 1 : 0
        let patches = try builder.gather(tokens, ids: builder.graph.constant(indices: (0..<Int32(geometry.count)).map { $0 + first }))
        return FeatureMap(value: patches, height: geometry.gridHeight, width: geometry.gridWidth)
    }

    /// Errors: `.unsupported` for an encoder whose features are no map of the image.
    private static func checked(_ encoder: any ImageEncoder) throws -> any ImageEncoder {
        guard encoder.convolutionalEncoder != nil || (encoder.tokenEncoder != nil && encoder.pointGroups == nil) else {
            throw MRPError(
                .unsupported, "the features of a \(encoder.family.name) are no map: dense prediction needs residual, convnext or vit")
        }
        return encoder
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
