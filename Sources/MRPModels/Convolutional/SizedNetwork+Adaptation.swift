import MRPEngine
import MRPOptions

/// Other images, cells and channels. Images of another size change no weight, and there are neither positions nor patches.
extension SizedNetwork {
    public func adapted(_ options: Options, _ notes: inout [String]) throws -> any ImageEncoder {
        let old = geometry
        var shape = NetworkShape(
            stem: stem, baseWidth: baseWidth, channels: options.given(NetworkOptions.channels) ?? old.channels,
            height: options.given(NetworkOptions.imageHeight) ?? old.height, width: options.given(NetworkOptions.imageWidth) ?? old.width)
        try check(options)
        try checkChannels(shape.channels, options)
        shape.cellSize = options.isSet(NetworkOptions.cellSize) ? options[NetworkOptions.cellSize] : cellSize(shape)
        let result = try Self(named: sizeName, shape)
        if (shape.height, shape.width) != (old.height, old.width) {
            notes.append("images of \(old.height) x \(old.width) became \(shape.height) x \(shape.width): the weights are the same")
        }
        notes += channelNotes("weights", shape.channels, options)
        return result
    }

    private func check(_ options: Options) throws {
        let (positions, patches) = (options[AdaptationOptions.positions], options[AdaptationOptions.patchWeights])
        let wish =
            positions != .keep
            ? "option positions=\(positions)" : patches != .keep ? "option patch_weights=\(patches)" : "another patch_size"
        guard positions == .keep, patches == .keep, !options.isSet(NetworkOptions.patchHeight), !options.isSet(NetworkOptions.patchWidth)
        else {
            throw MRPError(.unsupported, "\(wish) needs a vision transformer, the file holds a convolutional network (\(sizeName))")
        }
    }

    /// The file's cells, where they are not the usual ones and still divide the images.
    private func cellSize(_ shape: NetworkShape) -> Int? {
        let side = geometry.patchHeight
        return side > downsampling && shape.height % side == 0 && shape.width % side == 0 ? side : nil
    }
}
