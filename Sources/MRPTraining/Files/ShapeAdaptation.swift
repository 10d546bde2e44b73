import MRPEngine
import MRPModels
import MRPOptions

/// Fits the weights of a file to images, patches, channels or classes of other sizes, as far as the options ask for it in so many words:
///
/// - `image_size`, `patch_size`, `channels` and `classes`, where they are set, say what is wanted; unset they follow the file.
/// - `positions`: `recompute` (the sine-cosine table of the new grid) or `bicubic` (interpolated).
/// - `patch_weights`: `resample`. `channel_weights`: `repeat` or `average`. `classifier`: `new`.
///
/// An encoder knows which of these it can follow (`StoredEncoder.adapted`). What is wanted and not allowed is an error that names the
/// option. Each change is noted.
struct ShapeAdaptation {
    /// The model of the file.
    let file: ModelDescription
    /// The part of it whose weights are read.
    private(set) var source: ModelDescription
    private(set) var target: ModelDescription
    private let recomputesPositions: Bool
    private let averagesChannels: Bool
    private var sourceByName: [String: ParameterSpecification] = [:]
    private var freshNames: Set<String> = []
    private var droppedNames: Set<String> = []

    init(_ description: ModelDescription, _ options: Options) throws {
        (file, source, target) = (description, description, description)
        recomputesPositions = options[AdaptationOptions.positions] == .recompute
        averagesChannels = options[AdaptationOptions.channelWeights] == .average
        let old = description.encoder.geometry
        target.encoder = try description.encoder.adapted(options, &target.notes)
        if target.encoder.geometry.channels != old.channels, description.normalization != nil {
            target.normalization = nil
            target.notes.append("the mean and deviation of the file's \(old.channels) channels are left out")
        }
        target.objective = try description.objective?.adapted(to: target.encoder, from: old, &target.notes)
        try adaptHead(options)
        sourceByName = Dictionary(uniqueKeysWithValues: try source.specifications().map { ($0.name, $0) })
    }

    private mutating func adaptHead(_ options: Options) throws {
        let isLeftOut = options[FileOptions.classifier] == .new
        if isLeftOut {
            // Its tensors may have any shape: none is read.
            droppedNames = try file.encoder.classifierNames.union(file.head?.parameters(on: file.encoder).map(\.name) ?? [])
            if let head = file.head {
                source.head = nil
                target.head = nil
                target.classNames = []
                target.labelType = nil
                target.classPrior = nil
                target.notes.append("the classifier of \(head.classes) classes is left out")
            }
        }
        guard let classes = options.given(NetworkOptions.classes), classes != target.head?.classes else { return }
        guard isLeftOut else {
            throw MRPError(
                .argument,
                "the file has \(file.head.map { "\($0.classes)" } ?? "no") classes, option classes is \(classes): set classifier=new")
        }
        let head = try ClassifierHead(classes: classes, pooling: options[NetworkOptions.pooling], std: options[NetworkOptions.headStd])
        target.head = head
        target.notes.append("the classifier of \(classes) classes has fresh weights")
        freshNames = Set(try head.parameters(on: target.encoder).map(\.name))
    }

    // MARK: For the reader

    func sourceSpecification(_ name: String) -> ParameterSpecification? { sourceByName[name] }

    /// Whether a weight begins anew, whatever the file has.
    func isFresh(_ specification: ParameterSpecification) -> Bool {
        freshNames.contains(specification.name) || recomputesPositions && specification.role == .position
    }

    /// Whether a weight of the file belongs to a classifier that is left out.
    func dropsFromFile(_ name: String) -> Bool { droppedNames.contains(name) }

    /// Writes a weight of the file's shape into one of the model's shape: positions of another grid, or a first layer for other patches or
    /// channels.
    func adapt(
        _ values: Tensor, of original: ParameterSpecification, into tensor: Tensor, of specification: ParameterSpecification
    ) throws {
        let (old, new) = (original.storedShape, specification.storedShape)
        if specification.role == .position {
            let (from, to) = (file.encoder.geometry, target.encoder.geometry)
            return try Resampling.positions(
                UnsafeBufferPointer(values.float32), width: tensor.shape[1], from: (from.gridHeight, from.gridWidth),
                to: (to.gridHeight, to.gridWidth), into: tensor.float32)
        }
        guard old.count == 4, new.count == 4, old[0] == new[0] else {
            throw MRPError(.internalError, "'\(specification.name)' cannot change its shape")
        }
        var weights = values
        if old[1] != new[1] {
            weights = try Tensor([old[0], new[1], old[2], old[3]])
            Resampling.channels(
                UnsafeBufferPointer(values.float32), outputs: old[0], pixels: old[2] * old[3], from: old[1], to: new[1],
                averages: averagesChannels, into: weights.float32)
        }
        if old[2...] != new[2...] {
            try Resampling.patches(
                UnsafeBufferPointer(weights.float32), from: (old[2], old[3]), to: (new[2], new[3]), into: tensor.float32)
        } else {
            _ = tensor.float32.update(fromContentsOf: weights.float32)
        }
    }
}
