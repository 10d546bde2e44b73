import MRPData
import MRPEngine
import MRPModels
import MRPObjectives
import MRPOptions

extension OptionTable {
    /// All options of training and of the use of models, each declared by the module that reads it. What is added to a registry is in it.
    public static var training: OptionTable {
        let entries = Objectives.registry.names + Heads.registry.names + Losses.registry.names + Samplers.registry.names
        if let latest = ProcessLock.locked({ latest }), latest.entries == entries { return latest.table }
        let table = OptionTable(declarations, presets: Preset.all, synonyms: synonyms)
        ProcessLock.locked { latest = (entries, table) }
        return table
    }

    /// Read and changed under `ProcessLock`.
    nonisolated(unsafe) private static var latest: (entries: [String], table: OptionTable)?

    private static var declarations: [any OptionDeclaration] {
        NetworkOptions.all + ObjectiveOptions.all + TrainingOptions.all + DataOptions.images + LevelOptions.all + FeatureOptions.all
            + DataOptions.pixels
            + FileOptions.all + RunOptions.computation + RunOptions.place + RunOptions.rolling + MeasurementOptions.all
    }
}

extension Options {
    public init() { self.init(.training) }

    /// The values of a preset. An unknown name is an error that lists all.
    public init(preset name: String) throws { try self.init(.training, preset: name) }
}
