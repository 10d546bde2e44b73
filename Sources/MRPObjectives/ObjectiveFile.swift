import MRPEngine
import MRPModels

/// A configuration that may describe an objective.
public struct ObjectiveFile {
    /// The whole configuration, with the keys of transformers.
    public let configuration: JSON
    /// Our own description of the objective; nil: there is none.
    public let settings: JSON?
    public let encoder: any ImageEncoder
    /// The tensors beside the configuration, where they are at hand.
    public let weights: (any WeightShapes)?

    public init(configuration: JSON, settings: JSON?, encoder: any ImageEncoder, weights: (any WeightShapes)?) {
        self.configuration = configuration
        self.settings = settings
        self.encoder = encoder
        self.weights = weights
    }
}

extension Objectives {
    /// The objective that a configuration describes; nil: none.
    public static func read(_ file: ObjectiveFile, _ notes: inout [String]) throws -> (any PretrainingObjective)? {
        if let settings = file.settings {
            let name = settings["name"]?.string ?? ""
            guard let read = registry.find(name)?.read else {
                throw MRPError(.format, "the configuration has objective '\(name)', which this library does not know")
            }
            return try read(file, &notes)
        }
        for descriptor in registry.all {
            if let objective = try descriptor.read?(file, &notes) { return objective }
        }
        return nil
    }

    /// The objective whose weights a file without a configuration has; nil: none.
    public static func infer(
        _ file: WeightFile, for encoder: any ImageEncoder, _ notes: inout [String]
    ) throws -> (any PretrainingObjective)? {
        for descriptor in registry.all {
            if let objective = try descriptor.infer(file, encoder, &notes) { return objective }
        }
        return nil
    }
}
