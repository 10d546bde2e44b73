import MRPOptions

/// Options of the instances that a model finds.
enum InstanceOptions {
    static let scoreThreshold = Option(
        "score_threshold", .number(0...1), default: 0.3, section: .measurement,
        "Task instances: predictions have at least this score; recall and false_positives count those that have.")
    static let mostInstances = Option(
        "most_instances", .integer(1...10_000), default: 100, section: .measurement,
        "Task instances: instances of an image, at most.")

    static let all: [any OptionDeclaration] = [scoreThreshold, mostInstances]
}
