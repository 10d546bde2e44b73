import MRPEngine
import MRPOptions

/// What makes a run the run that it is: the options that change its numbers, the network, the data, and the weights that it began with. Every
/// checkpoint has it, and runs of equal identities end with the same bits. docs/checkpoints.md says what is in it.
struct RunIdentity: Equatable {
    /// A part by which runs can differ, with its value as text.
    struct Entry: Equatable {
        let name: String
        let value: String
    }

    struct Difference {
        let name: String
        let old: String
        let new: String

        var text: String { "\(name) \(Self.short(old)), now \(Self.short(new))" }

        private static func short(_ value: String) -> String {
            value.isEmpty ? "''" : value.count > 48 ? value.prefix(45) + "..." : value
        }
    }

    var options: [Entry] = []
    var network: [Entry] = []
    var data: [Entry] = []
    /// Digest of the weights before the first step.
    var weights = ""

    /// The name of `weights` in differences.
    static let weightsName = "initial_weights"
    private static let none = "not there"
    private static let maximumEntries = 4_096

    /// The parts in which a run with this identity differs from an older one. What follows from another difference is not told beside it: the
    /// mean of other images, the first weights of another network.
    func differences(from old: RunIdentity) -> [Difference] {
        let defaults = OptionTable.training.definitions.map { Entry(name: $0.key, value: $0.defaultValue) }
        let options = Self.differences(of: options, from: old.options, defaults: defaults)
        let network = Self.differences(of: network, from: old.network)
        var data = Self.differences(of: data, from: old.data)
        if data.contains(where: { $0.name == DataName.images }) {
            data.removeAll { DataName.measured.contains($0.name) }
        }
        var all = options + network + data
        let makesOthers = options.contains { RunIdentity.shapesWeights($0.name) } || !network.isEmpty
        if weights != old.weights, !makesOthers { all.append(Difference(name: Self.weightsName, old: old.weights, new: weights)) }
        return all
    }

    /// An option that the older version did not have yet counts as its default.
    private static func differences(of new: [Entry], from old: [Entry], defaults: [Entry] = []) -> [Difference] {
        func value(_ name: String, _ entries: [Entry]) -> String? { entries.first { $0.name == name }?.value }
        var found: [Difference] = []
        for entry in new {
            let before = value(entry.name, old) ?? value(entry.name, defaults) ?? none
            if before != entry.value { found.append(Difference(name: entry.name, old: before, new: entry.value)) }
        }
        for entry in old where value(entry.name, new) == nil {
            found.append(Difference(name: entry.name, old: entry.value, new: none))
        }
        return found
    }

    /// 16 hexadecimal digits that stand for all of it.
    var digest: String {
        var digest = Digest()
        for entries in [options, network, data, [Entry(name: Self.weightsName, value: weights)]] {
            digest.add(entries.count)
            for entry in entries {
                digest.add(entry.name)
                digest.add(entry.value)
            }
        }
        return digest.text
    }

    // MARK: In checkpoints

    var json: JSON {
        func object(_ entries: [Entry]) -> JSON { .object(entries.map { ($0.name, .string($0.value)) }) }
        return .object([
            ("digest", .string(digest)), ("options", object(options)), ("network", object(network)), ("data", object(data)),
            (Self.weightsName, .string(weights)),
        ])
    }

    /// nil: the JSON is no identity.
    init?(_ json: JSON) {
        func entries(_ key: String) -> [Entry]? {
            guard let members = json[key]?.members, members.count <= Self.maximumEntries else { return nil }
            let entries = members.compactMap { name, value in value.string.map { Entry(name: name, value: $0) } }
            return entries.count == members.count ? entries : nil
        }
        guard let options = entries("options"), let network = entries("network"), let data = entries("data"),
            let weights = json[Self.weightsName]?.string
        else { return nil }
        (self.options, self.network, self.data, self.weights) = (options, network, data, weights)
    }

    init() {}
}
