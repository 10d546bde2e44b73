import MRPEngine
import MRPOptions

/// Options by key and text, as other languages set them.
extension LabOptions {
    /// Sets one option by its key or by the paper's symbol. Errors (`argument`) name the option, its symbol, the value and the
    /// limits; an unknown key, the nearest one; an option that another experiment reads, both.
    public mutating func set(_ key: String, _ text: String) throws { try option(key).set(&self, text) }

    /// The value of an option as text that `set` accepts.
    public func text(_ key: String) throws -> String { try option(key).text(self) }

    /// Keys that every experiment reads.
    static let shared: Set = ["seeds", "first_seed", "threads", "precision", "instructions", "data_bytes"]

    /// The options that this experiment reads.
    var own: [LabOption] {
        let keys = definition.keys.union(Self.shared)
        return LabOption.all.filter { keys.contains($0.definition.key) }
    }

    private func option(_ key: String) throws -> LabOption {
        let key = try OptionTable.laboratory.definition(key).key
        if let option = own.first(where: { $0.definition.key == key }) { return option }
        let others = ExperimentName.allCases.filter { Self.experiments[$0]?.keys.contains(key) == true }.map(\.rawValue)
        let name = "option '\(key)' belongs to the laboratory's preset \(others.joined(separator: " and "))"
        throw MRPError(.argument, name + ", not to \(experiment.rawValue)")
    }

    /// Checks every value, and those that must fit each other.
    public func validate() throws {
        for option in own { try option.definition.validate(option.text(self)) }
        try require(kernels <= 1 << 20, "kernels_per_class (m) \(kernelsPerClass) gives K = k m = \(kernels) kernels, above \(1 << 20)")
        try require(firstSeed <= Int.max - seeds, "first_seed \(firstSeed) is outside 0 ... \(Int.max - seeds)")
        try definition.validate(self)
    }

    /// All options that the experiment reads, with their values.
    public var json: JSON { .object(own.map { ($0.definition.key, $0.json(self)) }) }

    /// The values of a preset. An unknown name is an error that lists all.
    public init(preset name: String) throws {
        let preset = try OptionTable.laboratory.preset(name)
        let owner = ExperimentName.allCases.first { Self.experiments[$0]?.presets.contains { $0.name == name } == true }
        self.init(owner ?? .multiview)
        for (key, value) in preset.values { try set(key, value) }
    }
}

extension Preset {
    static let laboratory = LabOptions.ExperimentName.allCases.flatMap { LabOptions.experiments[$0]?.presets ?? [] }
}
