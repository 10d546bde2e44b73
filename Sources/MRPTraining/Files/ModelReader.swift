import Glibc
import MRPEngine
import MRPModels
import MRPOptions

/// Makes a model of a source of weights: names, configuration, shapes, numbers, in this order; memory is taken once all of that fits.
struct ModelReader {
    private let source: WeightSource
    private let options: Options
    private let weights: NamedWeights

    init(_ source: WeightSource, _ options: Options) throws {
        self.source = source
        self.options = options
        try Memory.check(source.tensors.count, bytesEach: 3_000, for: "the names of \(source.tensors.count) tensors")
        if source.tensors.keys.contains(where: { $0.contains("downsample_layers.") }) {
            throw MRPError(
                .format,
                "'\(source.path)' has the names of facebookresearch/ConvNeXt-V2: timm's are read, to which "
                    + "timm.models.convnext.checkpoint_filter_fn changes them")
        }
        guard let weights = NamedWeights(source) else {
            let sample = source.tensors.keys.sorted().prefix(3).map { "'\($0)'" }.joined(separator: ", ")
            let found = sample.isEmpty ? "it holds no tensor" : "its tensors are named \(sample)"
            throw MRPError(.format, "'\(source.path)' holds no network of a known spelling: \(found)")
        }
        self.weights = weights
    }

    func model() throws -> Model {
        let adaptation: ShapeAdaptation
        do {
            adaptation = try ShapeAdaptation(description(), options)
        } catch let error as MRPError {
            throw MRPError(error.code, "'\(source.path)': \(error.message)")
        }
        let absent = try WeightCheck(weights, adaptation, path: source.path).absent()
        let model = try adaptation.target.model()
        model.notes += absent.notes + weights.notes
        for specification in try adaptation.target.specifications() {
            guard let tensor = model.parameters[specification.name] else { continue }
            try Interruption.check()
            if absent.names.contains(specification.name) || adaptation.isFresh(specification) {
                try model.parameters.reset(specification, seed: options.seed)
            } else {
                try read(specification, into: tensor, adaptation)
            }
        }
        model.notes += model.encoder.remarks(on: model.parameters)
        return model
    }

    // MARK: The description

    private func description() throws -> ModelDescription {
        if let text = source.metadata[ModelFile.configurationKey] {
            return try ModelConfiguration.description(JSON.parse(text), weights: weights)
        }
        var json = try source.companion.flatMap { try exists($0) }
        if !describesNetwork(json) { json = try exists(source.folder + "config.json") ?? json }
        guard let json, describesNetwork(json) else {
            return try ShapeReader(file: WeightFile(weights: weights, options: options, json: json)).description()
        }
        var description = try ModelConfiguration.description(json, weights: weights)
        if description.normalization == nil, let images = try exists(source.folder + "preprocessor_config.json"),
            let mean = images["image_mean"]?.array?.compactMap(\.number), let std = images["image_std"]?.array?.compactMap(\.number),
            mean.count == description.encoder.geometry.channels, std.count == mean.count, std.allSatisfy({ $0 > 0 })
        {
            description.normalization = Normalization(mean: mean, std: std)
        }
        return description
    }

    private func describesNetwork(_ json: JSON?) -> Bool { json.map(Encoders.describes) ?? false }

    /// A JSON file if it is there and is an object. Errors: `.memory`.
    private func exists(_ path: String) throws -> JSON? {
        guard access(path, R_OK) == 0 else { return nil }
        do {
            let json = try JSON.read(path)
            return json.members == nil ? nil : json
        } catch let error as MRPError where error.code == .format || error.code == .io {
            return nil
        }
    }

    // MARK: Numbers

    private func read(_ specification: ParameterSpecification, into tensor: Tensor, _ adaptation: ShapeAdaptation) throws {
        if let original = adaptation.sourceSpecification(specification.name), original.storedShape != specification.storedShape {
            let values = try Tensor(original.shape)
            try readParts(original, into: values)
            try adaptation.adapt(values, of: original, into: tensor, of: specification)
        } else {
            try readParts(specification, into: tensor)
        }
    }

    private func readParts(_ specification: ParameterSpecification, into tensor: Tensor) throws {
        var position = 0
        for part in weights.weights[specification.name] ?? [] {
            let count = part.tensor.entry.count
            try part.tensor.read(into: UnsafeMutableBufferPointer(rebasing: tensor.float32[position..<(position + count)]))
            position += count
        }
        if let index = tensor.float32.firstIndex(where: { !$0.isFinite }) {
            throw MRPError(.numeric, "'\(source.path)': weight \(index) of '\(specification.name)' is \(tensor.float32[index])")
        }
    }
}
