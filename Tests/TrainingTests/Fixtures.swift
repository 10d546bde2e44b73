import MRPEngine
import MRPModels
import MRPObjectives
import MRPTraining
import Testing

/// A stored case of Tests/fixtures/mae or another folder there (see its README), with the model that it describes.
struct Fixture {
    let file: SafetensorsFile
    let name: String

    static let folder = String(#filePath.dropLast("TrainingTests/Fixtures.swift".count)) + "fixtures/"

    init(_ name: String, in folder: String = "mae") throws {
        self.name = name
        file = try SafetensorsFile(path: Self.folder + folder + "/" + name + ".safetensors")
    }

    private func metadata(_ key: String) throws -> JSON {
        let text = try #require(file.metadata[key], "\(key) of \(name)")
        return try JSON.parse(text)
    }

    func number(_ key: String) throws -> Double {
        let value = try metadata(key).number
        return try #require(value)
    }

    func integer(_ key: String) throws -> Int { Int(try number(key)) }

    func flag(_ key: String) throws -> Bool {
        try metadata(key) == .bool(true)
    }

    func text(_ key: String) throws -> String {
        let value = try metadata(key).string
        return try #require(value)
    }

    func numbers(_ key: String) throws -> [Double] {
        let value = try metadata(key).array
        return try #require(value).compactMap(\.number)
    }

    func values(_ key: String) throws -> [Float] {
        let entry = try #require(file.entries[key], "\(key) in \(name)")
        var result = [Float](repeating: 0, count: entry.count)
        try result.withUnsafeMutableBufferPointer { try file.read(entry, into: $0) }
        return result
    }

    func keys(_ prefix: String) -> [String] {
        file.entries.keys.filter { $0.hasPrefix(prefix) }.sorted().map { String($0.dropFirst(prefix.count)) }
    }

    /// The residual network or ConvNeXt of a case.
    func convolutionalEncoder(cellSize: Int? = nil) throws -> any ConvolutionalEncoder {
        let name = try text("architecture")
        let shape = try NetworkShape(
            stem: #require(Stem(rawValue: text("stem"))), baseWidth: integer("base_width"), channels: integer("channels"),
            height: integer("image_height"), width: integer("image_width"), cellSize: cellSize)
        return try ConvNeXt.sizeNames.contains(name) ? ConvNeXt(named: name, shape) : ResidualNetwork(named: name, shape)
    }

    var isClassifier: Bool { file.entries["labels"] != nil }

    func model() throws -> Model {
        let geometry = try PatchGeometry(
            channels: integer("channels"), height: integer("image_height"), width: integer("image_width"),
            patchHeight: integer("patch_height"), patchWidth: integer("patch_width"))
        let ratio = try number("mlp_ratio")
        func transformer(_ prefix: String) throws -> TransformerConfiguration {
            let width = try integer(prefix + "width")
            return try TransformerConfiguration(
                width: width, depth: integer(prefix + "depth"), heads: integer(prefix + "heads"),
                hidden: Int(Double(width) * ratio))
        }
        let encoder = VisionTransformer(
            geometry: geometry, transformer: try transformer(""), epsilon: try number("layer_norm_eps"))
        let objective =
            isClassifier
            ? nil
            : MaskedAutoencoder(
                encoder, decoder: MaskedDecoder(try transformer("decoder_")), masks: MaskChoice(.random, ratio: try number("mask_ratio")),
                normalizesTargets: try flag("norm_pix_loss"))
        var head: ClassifierHead?
        if isClassifier {
            let pooling = Pooling(rawValue: try text("pooling"))
            head = try ClassifierHead(classes: integer("classes"), pooling: #require(pooling))
        }
        let model = try Model(encoder: encoder, objective: objective, head: head, seed: 1)
        for key in keys("weights/") {
            let tensor = try #require(model.parameters[key], "weight \(key)")
            _ = tensor.float32.update(fromContentsOf: try values("weights/" + key))
        }
        return model
    }
}

/// The largest difference over the largest expected value.
func deviation(_ actual: [Double], _ expected: [Float]) -> Double {
    guard actual.count == expected.count else { return .infinity }
    let scale = expected.reduce(1e-30) { max($0, abs(Double($1))) }
    return zip(actual, expected).reduce(0) { ($1.0.isNaN ? .infinity : max($0, abs($1.0 - Double($1.1)))) } / scale
}

extension Classification {
    /// Cross entropy of the model's classifier.
    init(_ model: Model, smoothing: Double = 0) throws {
        self.init(model.encoder, try #require(model.head), loss: try CrossEntropy(smoothing: smoothing))
    }

    func logits(_ builder: NetworkBuilder, batch: Int) throws -> Value {
        try head.outputs(Inputs.images(builder.graph, encoder.geometry, batch: batch), of: encoder, builder)
    }

    func loss(_ builder: NetworkBuilder, batch: Int) throws -> (loss: Value, logits: Value) {
        let logits = try logits(builder, batch: batch)
        return (try loss.loss(logits, labels: Inputs.labels(builder.graph, batch: batch), in: builder.graph), logits)
    }
}

extension TrainingStep {
    /// A step without labels.
    init(_ slice: BatchSlice, seed: UInt64, step: Int, indices: UnsafeBufferPointer<Int64>) {
        self.init(
            slice: slice, seed: seed, step: step, indices: indices, labels: UnsafeBufferPointer(start: nil, count: 0))
    }
}
