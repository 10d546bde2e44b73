import MRPData
import MRPModels
import MRPObjectives
import MRPOptions

extension OptionTable {
    /// All options of training and of the use of models, each declared by the module that reads it.
    public static let training = OptionTable(
        NetworkOptions.all + ObjectiveOptions.all + TrainingOptions.all + DataOptions.images + FeatureOptions.all + DataOptions.pixels
            + FileOptions.all + RunOptions.computation + RunOptions.course + MeasurementOptions.all,
        presets: Preset.all)
}

extension Options {
    public init() { self.init(.training) }

    /// The values of a preset. An unknown name is an error that lists all.
    public init(preset name: String) throws { try self.init(.training, preset: name) }
}
