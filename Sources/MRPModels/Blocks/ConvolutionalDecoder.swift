import MRPEngine

/// The light decoder of SparK (Tian et al. 2023, "Designing BERT for Convolutional Networks"), with its parameter names: from the coarsest
/// features up to pixels, each step doubles the size (transposed convolution, two 3 x 3 convolutions with batch norm) and halves the
/// width; before a step, the encoder's features of that resolution are added, brought to the decoder's width, with a learned mask token
/// where nothing was visible. It is thrown away after pretraining.
public struct ConvolutionalDecoder: Equatable, Sendable {
    /// Channels at the coarsest resolution: halved at each doubling.
    public let width: Int

    /// Epsilon of its batch norms, whatever the encoder's is.
    private static let epsilon = 1e-5

    public init(width: Int) { self.width = width }

    /// Doublings of the size from the last stage to pixels.
    private func steps(_ encoder: any ConvolutionalEncoder) -> Int { encoder.downsampling.trailingZeroBitCount }

    /// Stages whose features the decoder takes, the last first; those at the resolution of the pixels are left out.
    private func levels(_ encoder: any ConvolutionalEncoder) -> Int { min(encoder.stageWidths.count, steps(encoder)) }

    /// Throws when the width cannot be halved often enough.
    public func check(_ encoder: any ConvolutionalEncoder) throws {
        let count = 1 << steps(encoder)
        guard width >= count, width % count == 0 else {
            throw MRPError(.argument, "decoder_width \(width) is not a multiple of \(count): it is halved \(steps(encoder)) times")
        }
    }

    private func width(_ level: Int) -> Int { width >> level }

    private func hasProjection(_ level: Int, _ features: Int) -> Bool { level > 0 || features != width }

    /// `fillsHidden`: whether there are mask tokens.
    public func parameters(for encoder: any ConvolutionalEncoder, fillsHidden: Bool = true) -> [ParameterSpecification] {
        var list: [ParameterSpecification] = []
        for level in 0..<levels(encoder) {
            let features = encoder.stageWidths[encoder.stageWidths.count - 1 - level]
            if fillsHidden {
                list.append(
                    ParameterSpecification(
                        "mask_tokens.\(level)", [features], .normal(std: 0.02), role: .token, storedShape: [1, features, 1, 1]))
            }
            let norm = "densify_norms.\(level)"
            list += encoder.usesLayerNorm ? layerNormParameters(norm, width: features) : batchNormParameters(norm, width: features)
            if hasProjection(level, features) {
                let side = level == 0 ? 1 : 3
                let bound = Initializer.uniform(bound: 1 / Double(features * side * side).squareRoot())
                list.append(ParameterSpecification("densify_projs.\(level).weight", [width(level), features, side, side], bound))
                list.append(ParameterSpecification("densify_projs.\(level).bias", [width(level)], bound, role: .bias))
            }
        }
        for step in 0..<steps(encoder) {
            let (name, from, to) = ("dense_decoder.dec.\(step)", width(step), width(step + 1))
            list += [
                ParameterSpecification(
                    name + ".up_sample.weight", [from, from, 4, 4], .normal(std: (2 / Double(16 * from)).squareRoot())),
                ParameterSpecification(name + ".up_sample.bias", [from], .zeros, role: .bias),
                ParameterSpecification(name + ".conv.0.weight", [from, from, 3, 3], .normal(std: 0.02)),
            ]
            list += batchNormParameters(name + ".conv.1", width: from)
            list.append(ParameterSpecification(name + ".conv.3.weight", [to, from, 3, 3], .normal(std: 0.02)))
            list += batchNormParameters(name + ".conv.4", width: to)
        }
        let (last, channels) = (width(steps(encoder)), encoder.geometry.channels)
        return list + [
            ParameterSpecification("dense_decoder.proj.weight", [channels, last, 1, 1], .normal(std: 0.02)),
            ParameterSpecification("dense_decoder.proj.bias", [channels], .zeros, role: .bias),
        ]
    }

    /// Predicted images [B, C, H, W] from the stages' features, of visible cells or, without, of whole images.
    public func decode(
        _ maps: [FeatureMap], visible: VisibleCells?, for encoder: any ConvolutionalEncoder, _ builder: NetworkBuilder
    ) throws -> Value {
        let graph = builder.graph
        guard var x = maps.last else { throw MRPError(.internalError, "no features to decode") }
        for step in 0..<steps(encoder) {
            if step < levels(encoder) {
                x.value = try densify(maps[maps.count - 1 - step], step, visible, addend: step > 0 ? x.value : nil, encoder, builder)
            }
            x = try upsample(x, "dense_decoder.dec.\(step)", builder)
        }
        let pixels = try x.convolution(
            builder.weight("dense_decoder.proj.weight"), bias: builder.weight("dense_decoder.proj.bias"), kernel: 1, stride: 1,
            visible: nil, graph)
        return try graph.apply(ScatterPatches(encoder.pixelGeometry, order: .channelsLast), [pixels.value, nil])[0]
    }

    /// Normed features with mask tokens at the places that are not there, in the decoder's width, plus `addend`.
    private func densify(
        _ map: FeatureMap, _ level: Int, _ visible: VisibleCells?, addend: Value?, _ encoder: any ConvolutionalEncoder,
        _ builder: NetworkBuilder
    ) throws -> Value {
        let (graph, norm) = (builder.graph, "densify_norms.\(level)")
        let features = graph.shape(of: map.value)[2]
        var x = try encoder.usesLayerNorm ? builder.layerNorm(norm, map.value) : builder.batchNorm(norm, map.value, epsilon: Self.epsilon)
        if let visible {
            x = try builder.gather(x, ids: visible.places(height: map.height).places, fill: builder.weight("mask_tokens.\(level)"))
        }
        guard hasProjection(level, features) else { return x }
        let side = level == 0 ? 1 : 3
        let rows = try Window(map.height, kernel: side, padding: side / 2)
        let columns = try Window(map.width, kernel: side, padding: side / 2)
        let weight = try builder.weight("densify_projs.\(level).weight")
        let bias = try builder.weight("densify_projs.\(level).bias")
        return try graph.apply(Convolution(rows: rows, columns: columns), [x, weight, bias, addend])[0]
    }

    private func upsample(_ x: FeatureMap, _ name: String, _ builder: NetworkBuilder) throws -> FeatureMap {
        let rows = try Window(2 * x.height, kernel: 4, stride: 2, padding: 1)
        let columns = try Window(2 * x.width, kernel: 4, stride: 2, padding: 1)
        let weight = try builder.weight(name + ".up_sample.weight")
        let bias = try builder.weight(name + ".up_sample.bias")
        let large = try builder.graph.apply(TransposedConvolution(rows: rows, columns: columns), [x.value, weight, bias])[0]
        var result = FeatureMap(value: large, height: rows.size, width: columns.size)
        for (layer, norm, activation) in [("0", "1", BatchNorm.Activation.relu6), ("3", "4", .none)] {
            let weight = try builder.weight("\(name).conv.\(layer).weight")
            result = try result.convolution(weight, kernel: 3, stride: 1, visible: nil, builder.graph)
            result.value = try builder.batchNorm("\(name).conv.\(norm)", result.value, activation, epsilon: Self.epsilon)
        }
        return result
    }
}
