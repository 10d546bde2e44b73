import MRPEngine
import MRPOptions

/// Options by key and text, as other languages set them.
extension LabOptions {
    /// Sets one option by its key or by the paper's symbol. Errors (`argument`) name the option, its symbol, the value and the
    /// limits; an unknown key, the nearest one.
    public mutating func set(_ key: String, _ text: String) throws { try Self.option(key).set(&self, text) }

    /// The value of an option as text that `set` accepts.
    public func text(_ key: String) throws -> String { try Self.option(key).text(self) }

    private static func option(_ key: String) throws -> LabOption {
        let definition = try OptionTable.laboratory.definition(key)
        guard let option = LabOption.all.first(where: { $0.definition.key == definition.key }) else {
            throw MRPError(.internalError, "option '\(key)' has no value")
        }
        return option
    }

    /// Checks every value, and those that must fit each other.
    public func validate() throws {
        for option in LabOption.all { try option.definition.validate(option.text(self)) }
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
    public var json: JSON { .object(LabOption.all.map { ($0.definition.key, $0.json(self)) }) }

    /// The values of a preset. An unknown name is an error that lists all.
    public init(preset name: String) throws {
        self.init()
        for (key, value) in try OptionTable.laboratory.preset(name).values { try set(key, value) }
    }
}

extension Preset {
    static let laboratory = [
        Preset(
            name: "multiview", summary: "The default regime: k 10, d 64, P 24, 200 kernels; five seeds with controls, a minute.", values: []
        ),
        Preset(
            name: "quick", summary: "One seed of the default regime, without controls and frozen probe; a few seconds.",
            values: [("seeds", "1"), ("controls", "false"), ("frozen_probe", "false")]),
    ]
}
