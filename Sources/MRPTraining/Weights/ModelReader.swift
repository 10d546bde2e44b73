import Glibc
import MRPEngine
import MRPModels

/// Makes a model of a source of weights: names, configuration, shapes, numbers, in this order; memory is taken once all of that fits.
struct ModelReader {
    static let encoderNorm = ["norm.weight", "norm.bias"]
    /// An error names this many tensors; the rest it counts.
    private static let shownProblems = 40

    private let source: WeightSource
    private let options: Options
    private let weights: NamedWeights

    init(_ source: WeightSource, _ options: Options) throws {
        self.source = source
        self.options = options
        guard let weights = NamedWeights(source) else {
            let sample = source.tensors.keys.sorted().prefix(3).map { "'\($0)'" }.joined(separator: ", ")
            let found = sample.isEmpty ? "it holds no tensor" : "its tensors are named \(sample)"
            throw MRPError(.format, "'\(source.path)' holds no network of a known spelling: \(found)")
        }
        self.weights = weights
    }

    private func failure(_ text: String, _ code: MRPError.Code = .format) -> MRPError { MRPError(code, "'\(source.path)': \(text)") }

    func model() throws -> Model {
        let description: ModelDescription
        let adaptation: ShapeAdaptation
        do {
            description = try self.description()
            adaptation = try ShapeAdaptation(description, options)
        } catch let error as MRPError {
            throw failure(error.message, error.code)
        }
        let absent = try check(adaptation.source, adaptation)
        let model = try adaptation.target.model()
        model.notes += absent.notes
        model.notes += weights.ignored.map { "'\($0)' is left out: no use for it" }
        if weights.sparkCount > 0 { model.notes.append("the decoder of SparK (\(weights.sparkCount) tensors) is left out") }
        for specification in try adaptation.target.specifications() {
            guard let tensor = model.parameters[specification.name] else { continue }
            if absent.weights.contains(specification.name) || adaptation.isFresh(specification.name) {
                model.parameters.reset(specification, seed: options.seed)
            } else {
                try read(specification, into: tensor, adaptation)
            }
        }
        if (model.encoder as? VisionTransformer)?.positions == .sinCos, let table = model.parameters["pos_embed"],
            table.float32.allSatisfy({ $0 == 0 })
        {
            model.notes.append(
                "all positions are zero, as transformers leaves them when it trains from scratch: positions=recompute sets them")
        }
        return model
    }

    // MARK: What the model is

    private func description() throws -> ModelDescription {
        if let text = source.metadata[ModelFile.configurationKey] { return try describe(JSON.parse(text)) }
        var json = source.companion.flatMap { exists($0) }
        if !describesNetwork(json) { json = exists(source.folder + "config.json") ?? json }
        guard let json, describesNetwork(json) else {
            let reader = ShapeReader(weights: weights, json: json, options: options)
            if weights.has("stages.") { return try reader.convNeXt() }
            return try weights.has("conv1.") ? reader.residual() : reader.description()
        }
        var description = try describe(json)
        if description.normalization == nil, let images = exists(source.folder + "preprocessor_config.json"),
            let mean = images["image_mean"]?.array?.compactMap(\.number), let std = images["image_std"]?.array?.compactMap(\.number),
            mean.count == description.encoder.geometry.channels, std.count == mean.count, std.allSatisfy({ $0 > 0 })
        {
            description.normalization = Normalization(mean: mean, deviation: std)
        }
        return description
    }

    private func describesNetwork(_ json: JSON?) -> Bool {
        json?["hidden_size"] != nil || ModelConfiguration.convolutionalTypes.contains(json?["model_type"]?.string ?? "")
    }

    private func describe(_ json: JSON) throws -> ModelDescription {
        try ModelDescription.fromFile { try ModelConfiguration.description(json, weights: weights) }
    }

    /// A JSON file if it is there and is an object.
    private func exists(_ path: String) -> JSON? {
        guard access(path, R_OK) == 0, let json = try? JSON.read(path), json.members != nil else { return nil }
        return json
    }

    // MARK: Whether the tensors fit

    /// Compares names and shapes; returns the weights that the file may lack.
    private func check(_ description: ModelDescription, _ adaptation: ShapeAdaptation) throws -> (weights: Set<String>, notes: [String]) {
        var problems: [String] = []
        var expected = Set<String>()
        var absent = Set<String>()
        let lacksBias = description.encoder is VisionTransformer && !weights.weights.keys.contains { $0.hasSuffix("attn.qkv.bias") }
        for specification in try description.specifications() {
            let name = specification.name
            expected.insert(name)
            guard let parts = weights.weights[name] else {
                if (lacksBias && name.hasSuffix("attn.qkv.bias")) || (adaptation.lacksNorm && Self.encoderNorm.contains(name))
                    || adaptation.recomputes(name)
                {
                    absent.insert(name)
                } else {
                    problems += weights.names.pieces(of: specification).map { "'\($0.name)' is missing" }
                }
                continue
            }
            let pieces = weights.names.pieces(of: specification)
            for (index, piece) in pieces.enumerated() {
                let found = parts.filter { $0.part == index }
                guard let part = found.first else {
                    problems.append("'\(piece.name)' is missing")
                    continue
                }
                if found.count > 1 { problems.append("'\(found[1].stored)' repeats '\(part.stored)'") }
                let entry = part.tensor.entry
                if entry.shape != piece.shape {
                    problems.append("'\(part.stored)' has shape \(entry.shape), expected \(piece.shape)")
                } else if !entry.format.isWeight {
                    problems.append("'\(part.stored)' has dtype \(entry.dtype), a weight is one of F64, F32, F16, BF16")
                }
            }
        }
        let unexpected = weights.weights.filter { !expected.contains($0.key) && !adaptation.dropsFromFile($0.key) }
        problems += (unexpected.values.flatMap { $0.map(\.stored) } + weights.unknown).sorted().map { "'\($0)' is unexpected" }
        guard problems.isEmpty else {
            let more = problems.count > Self.shownProblems ? " and \(problems.count - Self.shownProblems) more" : ""
            throw MRPError(
                .format,
                "'\(source.path)' does not fit its configuration: \(problems.prefix(Self.shownProblems).joined(separator: ", "))\(more)")
        }
        var notes: [String] = []
        if absent.contains(Self.encoderNorm[0]) {
            notes.append("the file has no norm of the encoder, which its classifier does not use: it scales by 1")
        }
        if lacksBias { notes.append("the file has no bias of query, key and value: it is zero") }
        return (absent, notes)
    }

    // MARK: Numbers

    private func read(_ specification: ParameterSpecification, into tensor: Tensor, _ adaptation: ShapeAdaptation) throws {
        let name = specification.name
        if let original = adaptation.sourceSpecification(name), original.storedShape != specification.storedShape {
            let values = try Tensor(original.shape)
            try readParts(original, into: values)
            try adaptation.adapt(name, values, into: tensor)
        } else {
            try readParts(specification, into: tensor)
            if adaptation.recomputes(name) { try adaptation.adapt(name, tensor, into: tensor) }
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
