import MRPEngine
import MRPModels
import MRPOptions

/// Fits the weights of a file to images, patches, channels or classes of other sizes, as far as the options ask for it in so many words:
///
/// - `image_size`, `patch_size`, `channels` and `classes`, where they are set, say what is wanted; unset they follow the file.
/// - `positions`: `recompute` (the sine-cosine table of the new grid) or `bicubic` (interpolated).
/// - `patch_weights`: `resample`. `channel_weights`: `repeat` or `average`. `classifier`: `new`.
///
/// A convolutional network takes images of any size as it is; positions and patches it has none.
///
/// What is wanted and not allowed is an error that names the option. Each change is noted.
struct ShapeAdaptation {
    let source: ModelDescription
    private(set) var target: ModelDescription
    private let positions: FileOptions.Positions
    private let channels: FileOptions.ChannelWeights
    private let sourceByName: [String: ParameterSpecification]
    private let freshNames: Set<String>
    /// Whether the file's classifier uses the encoder's norm not at all, so that the file may lack it.
    let lacksNorm: Bool
    private let leavesClassifierOut: Bool

    init(_ description: ModelDescription, _ options: Options) throws {
        target = description
        lacksNorm = description.head?.pooling == .mean
        leavesClassifierOut = options[FileOptions.classifier] == .new
        positions = options[FileOptions.positions]
        channels = options[FileOptions.channelWeights]
        var source = description
        let old = description.encoder.geometry
        let new = try Self.wanted(old, options, isConvolutional: description.encoder is any ConvolutionalEncoder)
        if let network = description.encoder as? any ConvolutionalEncoder {
            try Self.checkConvolutional(network, new, options)
            let cellSize = options.isSet(NetworkOptions.cellSize) ? options[NetworkOptions.cellSize] : Self.cellSize(network, new)
            target.encoder = try Encoders.resized(network, new, cellSize: cellSize)
            target.notes += Self.convolutionalNotes(old, new, channels: channels)
            if target.encoder.geometry != old, description.objective != nil {
                target.objective = nil
                target.notes.append("the decoder is left out: it was made for other images or cells")
            }
        } else if new != old || positions == .recompute {
            let encoder = try description.transformer("another size of patches")
            try Self.check(old, new, options)
            target.encoder = VisionTransformer(
                geometry: new, transformer: encoder.transformer, epsilon: encoder.epsilon,
                positions: positions == .recompute ? .sinCos : encoder.positions)
            target.notes += Self.notes(old, new, positions: positions, channels: channels)
        }
        if new.channels != old.channels, description.normalization != nil {
            target.normalization = nil
            target.notes.append("the mean and deviation of the file's \(old.channels) channels are left out")
        }
        if description.decoder != nil, new.patchValues != old.patchValues || new.patchHeight != old.patchHeight {
            target.decoder = nil
            target.notes.append("the decoder is left out: it predicts patches of another size")
        }
        if leavesClassifierOut, let head = description.head {
            // Its tensors may have any shape: none is read.
            source.head = nil
            target.head = nil
            target.classNames = []
            target.notes.append("the classifier of \(head.classes) classes is left out")
        }
        if let classes = options.given(NetworkOptions.classes), classes != target.head?.classes {
            guard leavesClassifierOut else {
                throw MRPError(
                    .argument,
                    "the file has \(description.head.map { "\($0.classes)" } ?? "no") classes, option classes is \(classes): set classifier=new"
                )
            }
            target.head = try options.head(classes: classes)
            target.headDeviation = options[NetworkOptions.headDeviation]
            target.notes.append("the classifier of \(classes) classes has fresh weights")
        }
        self.source = source
        sourceByName = Dictionary(uniqueKeysWithValues: try source.specifications().map { ($0.name, $0) })
        let head = try target.head.map { try description.encoder.headParameters($0).map(\.name) } ?? []
        freshNames = source.head == nil ? Set(head) : []
    }

    private static func wanted(_ old: PatchGeometry, _ options: Options, isConvolutional: Bool) throws -> PatchGeometry {
        func size(_ option: Option<Int>, _ value: Int) -> Int { options.given(option) ?? value }
        let (height, width) = (size(NetworkOptions.imageHeight, old.height), size(NetworkOptions.imageWidth, old.width))
        if isConvolutional {
            return try PatchGeometry(
                channels: size(NetworkOptions.channels, old.channels), height: height, width: width, patchHeight: 1, patchWidth: 1)
        }
        return try PatchGeometry(
            channels: size(NetworkOptions.channels, old.channels), height: height, width: width,
            patchHeight: size(NetworkOptions.patchHeight, old.patchHeight), patchWidth: size(NetworkOptions.patchWidth, old.patchWidth))
    }

    private static func checkChannels(_ old: PatchGeometry, _ new: PatchGeometry, _ options: Options) throws {
        if new.channels != old.channels, options[FileOptions.channelWeights] == .keep {
            throw MRPError(
                .argument,
                "the file has \(old.channels) channels, option channels is \(new.channels): set channel_weights=repeat or average")
        }
    }

    private static func check(_ old: PatchGeometry, _ new: PatchGeometry, _ options: Options) throws {
        try checkChannels(old, new, options)
        if (new.patchHeight, new.patchWidth) != (old.patchHeight, old.patchWidth), options[FileOptions.patchWeights] == .keep {
            throw MRPError(
                .argument,
                "the file has patches of \(old.patchHeight) x \(old.patchWidth), the options want \(new.patchHeight) x \(new.patchWidth): "
                    + "set patch_weights=resample")
        }
        guard new.patchHeight <= 256, new.patchWidth <= 256 else {
            throw MRPError(.argument, "patches of \(new.patchHeight) x \(new.patchWidth) are over the limit of 256 x 256 for resampling")
        }
        if (new.gridHeight, new.gridWidth) != (old.gridHeight, old.gridWidth), options[FileOptions.positions] == .keep {
            throw MRPError(
                .argument,
                "the file has a grid of \(old.gridHeight) x \(old.gridWidth) patches, the options want \(new.gridHeight) x \(new.gridWidth): "
                    + "set positions=recompute or bicubic")
        }
    }

    /// The file's cells, where they are not the usual ones and still divide the images.
    private static func cellSize(_ network: any ConvolutionalEncoder, _ new: PatchGeometry) -> Int? {
        let side = network.geometry.patchHeight
        return side > network.downsampling && new.height % side == 0 && new.width % side == 0 ? side : nil
    }

    private static func checkConvolutional(_ network: any ConvolutionalEncoder, _ new: PatchGeometry, _ options: Options) throws {
        let (positions, patches) = (options[FileOptions.positions], options[FileOptions.patchWeights])
        let wish =
            positions != .keep
            ? "option positions=\(positions)" : patches != .keep ? "option patch_weights=\(patches)" : "another patch_size"
        guard positions == .keep, patches == .keep, !options.isSet(NetworkOptions.patchHeight), !options.isSet(NetworkOptions.patchWidth)
        else {
            let name = (network as? ResidualNetwork)?.size.name ?? (network as? ConvNeXt)?.size.name ?? ""
            throw MRPError(.unsupported, "\(wish) needs a vision transformer, the file holds a convolutional network (\(name))")
        }
        try checkChannels(network.geometry, new, options)
    }

    private static func convolutionalNotes(_ old: PatchGeometry, _ new: PatchGeometry, channels: FileOptions.ChannelWeights) -> [String] {
        var notes: [String] = []
        if (new.height, new.width) != (old.height, old.width) {
            notes.append("images of \(old.height) x \(old.width) became \(new.height) x \(new.width): the weights are the same")
        }
        if new.channels != old.channels {
            notes.append(
                "weights of \(old.channels) channels became \(new.channels): \(channels == .average ? "averaged" : "repeated")")
        }
        return notes
    }

    private static func notes(
        _ old: PatchGeometry, _ new: PatchGeometry, positions: FileOptions.Positions, channels: FileOptions.ChannelWeights
    ) -> [String] {
        var notes: [String] = []
        if (new.gridHeight, new.gridWidth) != (old.gridHeight, old.gridWidth) || positions == .recompute {
            notes.append(
                "positions of \(old.gridHeight) x \(old.gridWidth) patches became \(new.gridHeight) x \(new.gridWidth): "
                    + (positions == .recompute ? "recomputed" : "interpolated"))
        }
        if (new.patchHeight, new.patchWidth) != (old.patchHeight, old.patchWidth) {
            notes.append(
                "patch weights of \(old.patchHeight) x \(old.patchWidth) pixels became \(new.patchHeight) x \(new.patchWidth): resampled")
        }
        if new.channels != old.channels {
            notes.append(
                "patch weights of \(old.channels) channels became \(new.channels): \(channels == .average ? "averaged" : "repeated")")
        }
        return notes
    }

    // MARK: For the reader

    func sourceSpecification(_ name: String) -> ParameterSpecification? { sourceByName[name] }

    /// Whether a weight is new and has no counterpart in the file.
    func isFresh(_ name: String) -> Bool { freshNames.contains(name) }

    /// Whether a weight of the file belongs to what is left out.
    func dropsFromFile(_ name: String) -> Bool {
        let prefixes = source.encoder is ResidualNetwork ? ["fc."] : ["head.", "fc_norm."]
        return leavesClassifierOut && prefixes.contains { name.hasPrefix($0) }
    }

    func recomputes(_ name: String) -> Bool { positions == .recompute && (name == "pos_embed" || name == "decoder_pos_embed") }

    /// Writes a weight of the file's shape into one of the model's shape.
    func adapt(_ name: String, _ values: Tensor, into tensor: Tensor) throws {
        let (old, new) = (source.encoder.geometry, target.encoder.geometry)
        switch name {
        case "pos_embed", "decoder_pos_embed":
            let width = tensor.shape[1]
            let rows =
                positions == .recompute
                ? sinCosPositions(width: width, gridHeight: new.gridHeight, gridWidth: new.gridWidth)
                : Resampling.positions(
                    Array(values.float32), width: width, from: (old.gridHeight, old.gridWidth), to: (new.gridHeight, new.gridWidth))
            _ = tensor.float32.update(fromContentsOf: rows)
        case "patch_embed.proj.weight":
            var weights = Array(values.float32)
            if new.channels != old.channels {
                weights = Resampling.channels(
                    weights, outputs: tensor.shape[0], pixels: old.patchHeight * old.patchWidth, from: old.channels, to: new.channels,
                    averages: channels == .average)
            }
            let (from, to) = ((old.patchHeight, old.patchWidth), (new.patchHeight, new.patchWidth))
            if from != to { weights = try Resampling.patches(weights, from: from, to: to) }
            _ = tensor.float32.update(fromContentsOf: weights)
        case "conv1.weight", "stem.0.weight":
            let weights = Resampling.channels(
                Array(values.float32), outputs: tensor.shape[0], pixels: tensor.shape[2] * tensor.shape[3], from: old.channels,
                to: new.channels, averages: channels == .average)
            _ = tensor.float32.update(fromContentsOf: weights)
        default: throw MRPError(.internalError, "'\(name)' cannot change its shape")
        }
    }
}
