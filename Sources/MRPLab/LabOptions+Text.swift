import MRPEngine

/// Options by key and text, as other languages set them.
extension LabOptions {
    /// Sets one option by its key or by the paper's symbol. Errors (`argument`) name the option, its symbol, the value and the
    /// limits; an unknown key, the nearest one.
    public mutating func set(_ key: String, _ text: String) throws {
        let option = try Self.definition(key)
        try option.validate(text)
        option.put(&self, text)
    }

    /// The value of an option as text that `set` accepts.
    public func text(_ key: String) throws -> String { try Self.definition(key).read(self) }

    static func definition(_ key: String) throws -> LabOptionDefinition {
        if let option = LabOptionTable.byName[key] { return option }
        let nearest = Spelling.nearest(to: key, among: LabOptionTable.byName.keys)
        throw MRPError(.argument, "unknown laboratory option '\(key)': the nearest is '\(nearest)'")
    }

    /// Checks every value, and those that must fit each other.
    public func validate() throws {
        for option in LabOptionTable.all { try option.validate(option.read(self)) }
        func require(_ holds: Bool, _ message: @autoclosure () -> String) throws {
            if !holds { throw MRPError(.argument, message()) }
        }
        try require(2 * classes <= dimension, "dimension (d) \(dimension) is less than 2 k = \(2 * classes), the number of features")
        try require(
            2 * patchesPerFeature <= patches,
            "patches (P) \(patches) is less than 2 C_p = \(2 * patchesPerFeature), the patches of the label's two features")
        try require(presence <= Double(classes), "presence (s) \(presence) is above k = \(classes)")
        try require(mainLow <= mainHigh, "main_low \(mainLow) is above main_high \(mainHigh)")
        try require(otherLow <= otherHigh, "other_low \(otherLow) is above other_high \(otherHigh)")
        try require(kernels <= 1 << 20, "kernels_per_class (m) \(kernelsPerClass) gives K = k m = \(kernels), above \(1 << 20)")
        try require(
            pretrainBatch <= pretrainSamples, "pretrain_batch \(pretrainBatch) is above pretrain_samples (N_pre) \(pretrainSamples)")
        try require(trainBatch <= trainSamples, "train_batch \(trainBatch) is above train_samples (N) \(trainSamples)")
        try require(firstSeed <= Int.max - seeds, "first_seed \(firstSeed) is outside 0 ... \(Int.max - seeds)")
    }

    /// All options with their values.
    public var json: JSON {
        .object(
            LabOptionTable.all.map { option in
                let text = option.read(self)
                switch option.kind {
                case .integer: return (option.key, Int(text).map(JSON.integer) ?? .null)
                case .number: return (option.key, Double(text).map(JSON.number) ?? .null)
                case .flag: return (option.key, .bool(text == "true"))
                case .choice: return (option.key, .string(text))
                }
            })
    }

    /// The table of options and the presets, for other languages and manuals.
    public static func describe() -> JSON {
        let options = LabOptionTable.all.map { option -> JSON in
            .object([
                ("key", .string(option.key)), ("symbol", .string(option.symbol)), ("type", .string(option.typeName)),
                ("default", .string(option.defaultValue)), ("limits", .string(option.limits)),
                ("section", .string(option.section)), ("summary", .string(option.summary)),
            ])
        }
        let presets = LabPreset.all.map { preset -> JSON in
            .object([
                ("name", .string(preset.name)), ("summary", .string(preset.summary)),
                ("values", .object(preset.values.map { ($0.key, .string($0.value)) })),
            ])
        }
        return .object([("options", .array(options)), ("presets", .array(presets))])
    }

    /// The values of a preset. An unknown name is an error that lists all.
    public init(preset name: String) throws {
        self.init()
        guard let preset = LabPreset.all.first(where: { $0.name == name }) else {
            let names = LabPreset.all.map(\.name).joined(separator: ", ")
            throw MRPError(.argument, "unknown laboratory preset '\(name)': there are \(names)")
        }
        for (key, value) in preset.values { try set(key, value) }
    }
}

/// Named sets of values.
public struct LabPreset: Sendable {
    public let name: String
    public let summary: String
    public let values: [(key: String, value: String)]

    public static let all = [
        LabPreset(
            name: "multiview", summary: "The default regime: k 10, d 64, P 24, 200 kernels; five seeds with controls, a minute.", values: []
        ),
        LabPreset(
            name: "quick", summary: "One seed of the default regime, without controls and frozen probe; a few seconds.",
            values: [("seeds", "1"), ("controls", "false"), ("frozen_probe", "false")]),
    ]
}
