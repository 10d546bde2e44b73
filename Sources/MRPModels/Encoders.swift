import MRPEngine
import MRPOptions

/// The families of encoders: one list. A new one is a folder with its network and its descriptor, and an entry here.
public enum Encoders {
    public static let registry = Registry<EncoderFamily>(
        "encoder family", [VisionTransformer.family, ResidualNetwork.family, ConvNeXt.family, PointTransformer.family])

    /// Names of all sizes, as in option `encoder`.
    public static var names: [String] { registry.all.flatMap(\.sizes) }

    public static var summary: String { "Network and size. " + registry.all.map(\.summary).joined(separator: " ") }

    /// The encoder of a size for the images that the options describe.
    public static func make(_ size: String, _ options: Options) throws -> any ImageEncoder {
        guard let family = registry.all.first(where: { $0.sizes.contains(size) }) else {
            throw MRPError(.argument, "encoder '\(size)' is none of: \(names.joined(separator: ", "))")
        }
        let encoder = try family.make(size, options)
        guard options[MixtureOptions.experts] == 0 || encoder is any MixedEncoder else {
            throw MRPError(
                .unsupported, "moe_experts \(options[MixtureOptions.experts]): a \(family.name) has no experts, vision transformers have")
        }
        return encoder
    }

    // MARK: Files

    public static func describes(_ json: JSON) -> Bool { registry.all.contains { $0.describes(json) } }

    /// The encoder that a configuration describes: without a `model_type` a vision transformer.
    public static func read(_ file: EncoderFile) throws -> any ImageEncoder {
        guard let type = file.configuration["model_type"]?.string else { return try VisionTransformer.family.read(file) }
        guard let family = registry.all.first(where: { $0.modelTypes.contains(type) }) else {
            let known = registry.all.flatMap(\.modelTypes).joined(separator: ", ")
            throw MRPError(.unsupported, "model_type '\(type)' is not one of \(known)")
        }
        return try family.read(file)
    }

    /// The encoder of a file without a configuration. The last family is asked first: the first one, that of vision transformers, takes every
    /// file and says what is missing.
    public static func infer(_ file: WeightFile, _ notes: inout [String]) throws -> any ImageEncoder {
        for family in registry.all.reversed() {
            if let encoder = try family.infer(file, &notes) { return encoder }
        }
        throw MRPError(.internalError, "no family of encoders takes the file")
    }
}

extension Options {
    /// The encoder that the options describe.
    public func encoder() throws -> any ImageEncoder { try Encoders.make(self[NetworkOptions.encoder], self) }
}
