import MRPEngine
import MRPModels
import MRPObjectives

/// The JSON that brings a model back: the keys of a Hugging Face `config.json`, and under `libmrp` those that only this library knows.
enum ModelConfiguration {
    static let version = 1

    /// Errors: `.memory`.
    static func json(_ model: Model) throws -> JSON {
        let nameBytes = model.classNames.reduce(0) { $0 + $1.utf8.count }
        try Memory.check(model.head?.classes ?? 0, bytesEach: 512, for: "the names of the classes")
        try Memory.check(nameBytes, bytesEach: 16, for: "the names of the classes")
        var members = model.encoder.configuration(head: model.head, objective: model.objective)
        for member in model.objective?.configuration ?? [] {
            if let index = members.firstIndex(where: { $0.key == member.key }) {
                members[index] = member
            } else {
                members.append(member)
            }
        }
        if let head = model.head {
            let names = (0..<head.classes).map { $0 < model.classNames.count ? model.classNames[$0] : "LABEL_\($0)" }
            members.append(("id2label", .object(names.enumerated().map { ("\($0)", .string($1)) })))
            if Set(names).count == names.count {
                members.append(("label2id", .object(names.enumerated().map { ($1, .integer($0)) })))
            }
        }
        members.append(("libmrp", ours(model)))
        return .object(members)
    }

    private static func ours(_ model: Model) -> JSON {
        var members: [(key: String, value: JSON)] = [
            ("version", .integer(version)), ("is_pretrained", .bool(model.isPretrained)),
        ]
        members += model.encoder.settings
        if let objective = model.objective, objective.isKeptInFiles, objective.configuration.isEmpty {
            members.append(("objective", .object([("name", .string(objective.name))] + objective.settings)))
        }
        if let normalization = model.normalization {
            members.append(("mean", .array(normalization.mean.map { .number($0) })))
            members.append(("std", .array(normalization.std.map { .number($0) })))
        }
        if let pixels = model.pixels { members.append(("pixels", pixels.json)) }
        if let head = model.head {
            // Classifiers came first: their files name no task.
            if head.name != ClassifierHead.name { members.append(("task", .string(head.name))) }
            members += head.settings
            members.append(("class_names", .array(model.classNames.map { .string($0) })))
            if let type = model.labelType { members.append(("label_type", .string(type))) }
            members += model.classPrior?.members ?? []
        }
        return .object(members)
    }

    /// The model that a configuration of ours, or of transformers, describes. Errors: `.format` where it describes none that can be.
    static func description(_ json: JSON, weights: NamedWeights? = nil) throws -> ModelDescription {
        try MRPError.ofFile { try ConfigurationReader(json: json, weights: weights).description() }
    }
}
