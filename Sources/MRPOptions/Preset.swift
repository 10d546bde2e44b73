/// A named set of option values. Everything in it can be changed afterwards.
public struct Preset: Sendable {
    public let name: String
    public let summary: String
    public let values: [(key: String, value: String)]

    public init(name: String, summary: String, values: [(key: String, value: String)]) {
        self.name = name
        self.summary = summary
        self.values = values
    }
}
