import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

/// The identity of a run that is about to begin.
extension RunIdentity {
    /// Names of the data's entries.
    enum DataName {
        static let images = "images"
        static let measured = ["mean", "std"]
    }

    /// `batch`: images per batch, which a small dataset makes fewer than option `batch_size`. Errors: `.memory`.
    init(_ phase: Phase, _ options: Options, _ model: Model, _ objective: any TrainingObjective, _ dataset: any ImageDataset, batch: Int)
        throws
    {
        let known = [
            TrainingOptions.batchSize.key: String(batch),
            RunOptions.instructions.key: (options[RunOptions.instructions] ?? .best).rawValue,
            ObjectiveOptions.objective.key: objective.objectiveName,
        ]
        let without = Self.withoutInfluence(phase)
        self.options = options.values(for: phase).filter { !without.contains($0.key) }.map {
            Entry(name: $0.key, value: known[$0.key] ?? $0.value)
        }
        network = Self.network(model, phase)
        data = try Self.data(dataset, phase) + Self.normalization(model)
        weights = Self.weights(model)
    }

    /// Adds the images that the run is measured on, which decide when it stops early and which weights are the best, and the options of that.
    mutating func add(_ validation: Validation, _ phase: Phase, _ options: Options) throws {
        let without = Set(phase == .finetune ? MeasurementOptions.ofProbes.map(\.definition.key) : [])
        let keys = Set(MeasurementOptions.all.map(\.definition.key)).subtracting(without)
        self.options += options.values(for: phase).filter { keys.contains($0.key) }.map { Entry(name: $0.key, value: $0.value) }
        data += try Self.data(validation.heldOut, .finetune, "held_out_")
        if phase == .pretrain, let reference = validation.reference { data += try Self.data(reference, .finetune, "reference_") }
    }

    // MARK: Options

    /// Options that change no number of a phase, or whose effect is part of the network or the data. Any other is part of the identity, also one
    /// that is declared later.
    private static func withoutInfluence(_ phase: Phase) -> Set<String> {
        let always: [any OptionDeclaration] =
            [
                RunOptions.threads, DataOptions.loaderThreads, DataOptions.cacheBytes, TrainingOptions.recompute, DataOptions.mean,
                DataOptions.std, DataOptions.decodeBytes, DataOptions.decodeSeconds, DataOptions.pixelCheck, DataOptions.folderLayout,
                // A run may move from device to device: its numbers are the same up to rounding, which docs/devices.md says.
                RunOptions.device, RunOptions.deviceCache,
            ]
            + DataOptions.masks + DataOptions.generated + LevelOptions.all + RunOptions.place + FileOptions.all + FeatureOptions.all
            + MeasurementOptions.all
            + NetworkOptions.all
        let others: [any OptionDeclaration] =
            phase == .pretrain
            ? ObjectiveOptions.finetuning + DataOptions.mixing
                + [Classification.frozenEncoder, Classification.viewCount] : ObjectiveOptions.pretraining
        return Set((always + others).map(\.definition.key)).subtracting(readFromNetworkOptions(phase).map(\.definition.key))
    }

    /// Options of the network that training itself reads, for what it adds to the encoder.
    private static func readFromNetworkOptions(_ phase: Phase) -> [any OptionDeclaration] {
        switch phase {
        case .pretrain: [NetworkOptions.decoderWidth, NetworkOptions.decoderDepth, NetworkOptions.decoderHeads, NetworkOptions.mlpRatio]
        case .finetune: [NetworkOptions.pooling, NetworkOptions.classes, NetworkOptions.headStd]
        }
    }

    /// Whether other first weights follow from another value of this option.
    static func shapesWeights(_ name: String) -> Bool {
        let shaping = NetworkOptions.all + ObjectiveOptions.all + [RunOptions.seed]
        return shaping.contains { $0.definition.key == name }
    }

    // MARK: Network

    private static func network(_ model: Model, _ phase: Phase) -> [Entry] {
        var members = model.encoder.configuration(head: nil, objective: nil) + model.encoder.settings
        if phase == .finetune {
            // It decides on the learning rates of the lower layers.
            members.append(("is_pretrained", .bool(model.isPretrained)))
            members += model.head?.settings ?? []
        }
        return members.map { Entry(name: $0.key, value: $0.value.string ?? $0.value.text()) }
    }

    private static func weights(_ model: Model) -> String {
        var digest = Digest()
        for (name, tensor) in model.parameters.tensors.sorted(by: { $0.key < $1.key }) {
            digest.add(name)
            for side in tensor.shape { digest.add(side) }
            digest.add(UnsafeRawBufferPointer(start: tensor.memory, count: tensor.bytes))
        }
        return digest.text
    }

    // MARK: Data

    private static func data(_ dataset: any ImageDataset, _ phase: Phase, _ prefix: String = "") throws -> [Entry] {
        let contents = try ContentDigest(dataset)
        let size = dataset.imageSize.map { "\($0)" } ?? "different sizes"
        var entries = [
            Entry(name: prefix + DataName.images, value: "\(dataset.count) x \(dataset.channels) x \(size) (\(contents.images.text))")
        ]
        // Pretraining does not read the labels.
        guard phase == .finetune else { return entries }
        if let labels = contents.labels { entries.append(Entry(name: prefix + "labels", value: labels.text)) }
        if dataset.classCount > 0 { entries.append(Entry(name: prefix + "class_names", value: names(dataset.classNames))) }
        if let masks = contents.masks {
            entries.append(Entry(name: prefix + "masks", value: masks.text))
            entries.append(Entry(name: prefix + "ignore_label", value: String(dataset.ignoredId)))
        }
        return entries
    }

    /// A few names as they are, of many the number and a digest.
    private static func names(_ names: [String]) -> String {
        let text = names.joined(separator: ", ")
        guard names.count > 8 || text.utf8.count > 48 else { return text }
        var digest = Digest()
        for name in names { digest.add(name) }
        return "\(names.count) (\(digest.text))"
    }

    private static func normalization(_ model: Model) -> [Entry] {
        let values = model.normalization.map { [$0.mean, $0.std] } ?? [[], []]
        return zip(DataName.measured, values).map { name, numbers in
            Entry(name: name, value: names(numbers.map(NumberText.short)))
        }
    }
}
