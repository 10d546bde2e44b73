import MRPEngine
import MRPOptions

/// Other images, patches and channels.
extension VisionTransformer {
    public func adapted(_ options: Options, _ notes: inout [String]) throws -> any ImageEncoder {
        let wanted = try PatchGeometry(
            channels: options.given(NetworkOptions.channels) ?? geometry.channels,
            height: options.given(NetworkOptions.imageHeight) ?? geometry.height,
            width: options.given(NetworkOptions.imageWidth) ?? geometry.width,
            patchHeight: options.given(NetworkOptions.patchHeight) ?? geometry.patchHeight,
            patchWidth: options.given(NetworkOptions.patchWidth) ?? geometry.patchWidth)
        let recomputes = options[AdaptationOptions.positions] == .recompute
        guard wanted != geometry || recomputes else { return self }
        if mixture?.routing == .cluster {
            throw MRPError(.unsupported, "a mixture whose images are clustered keeps its image size and positions: extract an expert first")
        }
        try check(wanted, options)
        notes += changes(wanted, options)
        return VisionTransformer(
            geometry: wanted, transformer: transformer, epsilon: epsilon, positions: recomputes ? .sinCos : positions,
            mixture: mixture)
    }

    private func check(_ wanted: PatchGeometry, _ options: Options) throws {
        let (old, new) = (geometry, wanted)
        try checkChannels(new.channels, options)
        if (new.patchHeight, new.patchWidth) != (old.patchHeight, old.patchWidth), options[AdaptationOptions.patchWeights] == .keep {
            throw MRPError(
                .argument,
                "the file has patches of \(old.patchHeight) x \(old.patchWidth), the options want \(new.patchHeight) x \(new.patchWidth): "
                    + "set patch_weights=resample")
        }
        guard new.patchHeight <= 256, new.patchWidth <= 256 else {
            throw MRPError(.argument, "patches of \(new.patchHeight) x \(new.patchWidth) are over the limit of 256 x 256 for resampling")
        }
        if (new.gridHeight, new.gridWidth) != (old.gridHeight, old.gridWidth), options[AdaptationOptions.positions] == .keep {
            throw MRPError(
                .argument,
                "the file has a grid of \(old.gridHeight) x \(old.gridWidth) patches, the options want \(new.gridHeight) x \(new.gridWidth): "
                    + "set positions=recompute or bicubic")
        }
    }

    private func changes(_ wanted: PatchGeometry, _ options: Options) -> [String] {
        let (old, new) = (geometry, wanted)
        let recomputes = options[AdaptationOptions.positions] == .recompute
        var notes: [String] = []
        if (new.gridHeight, new.gridWidth) != (old.gridHeight, old.gridWidth) || recomputes {
            notes.append(
                "positions of \(old.gridHeight) x \(old.gridWidth) patches became \(new.gridHeight) x \(new.gridWidth): "
                    + (recomputes ? "recomputed" : "interpolated"))
        }
        if (new.patchHeight, new.patchWidth) != (old.patchHeight, old.patchWidth) {
            notes.append(
                "patch weights of \(old.patchHeight) x \(old.patchWidth) pixels became \(new.patchHeight) x \(new.patchWidth): resampled")
        }
        return notes + channelNotes("patch weights", new.channels, options)
    }
}
