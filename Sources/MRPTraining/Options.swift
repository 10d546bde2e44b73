import Glibc
import MRPEngine
import MRPModels

/// What a network is trained for; options may be given for one phase only, as `pretrain.epochs`.
public enum Phase: String, CaseIterable, Sendable {
    case pretrain
    case finetune
}

/// Values of the options in `OptionTable`, checked when they are set.
public struct Options: Sendable {
    private var values: [String: String] = [:]

    public init() {}

    /// The values of a preset. An unknown name is an error that lists all.
    public init(preset name: String) throws {
        guard let preset = Preset.all.first(where: { $0.name == name }) else {
            let names = Preset.all.map(\.name).joined(separator: ", ")
            throw MRPError(.argument, "unknown preset '\(name)': there are \(names)")
        }
        for (key, value) in preset.values { try set(key, value) }
    }

    /// Sets one option. A plain key also replaces what was set for single phases before; an unknown key is an error that names the
    /// nearest one.
    public mutating func set(_ key: String, _ value: String) throws {
        let (phase, name) = Self.split(key)
        guard let definition = OptionTable.byKey[name], phase == nil || definition.isPerPhase else {
            if phase != nil, OptionTable.byKey[name] != nil {
                throw MRPError(.argument, "option '\(name)' cannot be set for one phase")
            }
            throw MRPError(.argument, "unknown option '\(key)': the nearest is '\(OptionTable.nearest(to: name))'")
        }
        try definition.validate(value)
        if phase == nil {
            for phase in Phase.allCases { values["\(phase).\(name)"] = nil }
        }
        for side in Self.sides[name] ?? [] { values[side] = value }
        values[key] = value
    }

    /// The text of an option: what was set, or its default.
    public func text(_ key: String) throws -> String {
        let (phase, name) = Self.split(key)
        guard let definition = OptionTable.byKey[name] else {
            throw MRPError(.argument, "unknown option '\(key)': the nearest is '\(OptionTable.nearest(to: name))'")
        }
        if phase != nil, let value = values[key] { return value }
        return values[name] ?? definition.defaultValue
    }

    /// Whether an option was set, for all phases.
    func isSet(_ key: String) -> Bool { values[key] != nil }

    /// Keys that stand for two others.
    private static let sides = [
        "image_size": ["image_height", "image_width"], "patch_size": ["patch_height", "patch_width"],
    ]

    private static func split(_ key: String) -> (Phase?, String) {
        for phase in Phase.allCases where key.hasPrefix(phase.rawValue + ".") {
            return (phase, String(key.dropFirst(phase.rawValue.count + 1)))
        }
        return (nil, key)
    }

    // Values were checked when they were set and defaults are checked by a test, so the fallbacks below are never used.

    private func value(_ key: String, _ phase: Phase?) -> String {
        (try? text(phase.map { "\($0).\(key)" } ?? key)) ?? ""
    }

    func integer(_ key: String, _ phase: Phase? = nil) -> Int { Int(value(key, phase)) ?? 0 }
    func number(_ key: String, _ phase: Phase? = nil) -> Double { Double(value(key, phase)) ?? 0 }
    func flag(_ key: String, _ phase: Phase? = nil) -> Bool { OptionDefinition.flags[value(key, phase)] ?? false }
    func choice(_ key: String, _ phase: Phase? = nil) -> String { value(key, phase) }

    /// nil for `auto`.
    func optionalInteger(_ key: String, _ phase: Phase? = nil) -> Int? { Int(value(key, phase)) }
    func optionalNumber(_ key: String, _ phase: Phase? = nil) -> Double? { Double(value(key, phase)) }
    func optionalNumbers(_ key: String, _ phase: Phase? = nil) -> [Double]? {
        let text = value(key, phase)
        return text == "auto" ? nil : text.split(separator: ",").compactMap { Double($0.trimmed) }
    }

    public var seed: UInt64 { UInt64(integer("seed")) }

    public var threads: Int {
        optionalInteger("threads") ?? min(max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1), Compute.maximumThreads)
    }

    /// A compute context as the options describe it.
    public func compute() throws -> Compute {
        let instructions: Compute.Instructions? =
            switch choice("instructions") {
            case "baseline": .baseline
            case "avx2": .avx2
            case "avx512": .avx512
            case "neon": .neon
            default: nil
            }
        return try Compute(threads: threads, instructions: instructions, convolvesDirectly: choice("convolutions") == "direct")
    }

    /// The backend that the options describe.
    public func backend() throws -> any Backend { try CPUBackend(compute()) }

    /// The encoder that the options describe.
    public func encoder() throws -> any ImageEncoder {
        let name = choice("encoder")
        if Encoders.convolutionalNames.contains(name) {
            let (height, width) = (integer("image_height"), integer("image_width"))
            let stem = ResidualNetwork.Stem(rawValue: choice("stem")) ?? (min(height, width) < 64 ? .cifar : .imagenet)
            return try Encoders.convolutional(
                name, stem: stem, width: optionalInteger("width"), channels: integer("channels"), imageHeight: height, imageWidth: width,
                cellSize: optionalInteger("cell_size"))
        }
        let geometry = try PatchGeometry(
            channels: integer("channels"), height: integer("image_height"), width: integer("image_width"),
            patchHeight: integer("patch_height"), patchWidth: integer("patch_width"))
        let size = Encoders.sizes.first { $0.name == name } ?? Encoders.sizes[0]
        let width = optionalInteger("width") ?? size.width
        let transformer = try TransformerConfiguration(
            width: width, depth: optionalInteger("depth") ?? size.depth, heads: optionalInteger("heads") ?? size.heads,
            hidden: max(1, Int((Double(width) * number("mlp_ratio")).rounded())))
        return VisionTransformer(geometry: geometry, transformer: transformer, epsilon: number("layer_norm_eps"))
    }

    public func decoder() throws -> MaskedDecoder {
        let width = integer("decoder_width")
        return MaskedDecoder(
            try TransformerConfiguration(
                width: width, depth: integer("decoder_depth"), heads: integer("decoder_heads"),
                hidden: max(1, Int((Double(width) * number("mlp_ratio")).rounded())), role: "decoder"))
    }

    public func head(classes: Int) throws -> ClassifierHead {
        try ClassifierHead(classes: optionalInteger("classes") ?? classes, pooling: Pooling(rawValue: choice("pooling")) ?? .mean)
    }

    /// The whole table and the presets, for other languages and manuals.
    public static func describe() -> JSON {
        let options = OptionTable.all.map { option -> JSON in
            .object([
                ("key", .string(option.key)), ("type", .string(option.typeName)), ("default", .string(option.defaultValue)),
                ("limits", .string(option.limits)), ("per_phase", .bool(option.isPerPhase)),
                ("section", .string(option.section)), ("summary", .string(option.summary)),
            ])
        }
        let presets = Preset.all.map { preset -> JSON in
            .object([
                ("name", .string(preset.name)), ("summary", .string(preset.summary)),
                ("values", .object(preset.values.map { ($0.key, .string($0.value)) })),
            ])
        }
        return .object([("options", .array(options)), ("presets", .array(presets))])
    }
}
