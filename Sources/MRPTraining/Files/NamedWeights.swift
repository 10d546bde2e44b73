import MRPEngine
import MRPModels
import MRPObjectives

/// The tensors of a source under our names, and the spelling that was recognised.
struct NamedWeights: WeightShapes {
    struct Part {
        let stored: String
        let part: Int
        let parts: Int
        let tensor: WeightSource.Tensor
    }

    let spelling: WeightNames
    private let table: NameTable
    /// By our name, in the order of their parts.
    let weights: [String: [Part]]
    /// Stored names that mean nothing to us, sorted.
    let unknown: [String]
    /// Remarks on tensors that are known to be of no use for an encoder.
    let notes: [String]

    /// Recognises the spelling: the one that explains most names. nil when none explains any.
    init?(_ source: WeightSource) {
        let table = NameTable()
        let families = Encoders.registry.all.map(\.names)
        let wrappers = Objectives.registry.all.compactMap(\.checkpoint)
        guard let prefixes = Self.prefixes(source, table, families, wrappers) else { return nil }
        let wrapper = wrappers.first { prefixes.removed.hasSuffix($0.encoderPrefix) }
        let outer = wrapper.map { String(prefixes.removed.dropLast($0.encoderPrefix.count)) } ?? ""
        var (weights, unknown, unused, decoderCount): ([String: [Part]], [String], [String], Int) = ([:], [], [], 0)
        // torch counts the batches that a batch norm has seen; nothing that it computes with the default momentum depends on it.
        for (stored, tensor) in source.tensors where !stored.hasSuffix(".num_batches_tracked") {
            if let found = Self.weight(stored, prefixes, table) {
                weights[found.name, default: []].append(Part(stored: stored, part: found.part, parts: found.parts, tensor: tensor))
            } else if let bare = Self.without(prefixes.removed, stored), families.contains(where: { $0.isUnused(bare) }) {
                unused.append(stored)
            } else if let bare = Self.without(outer, stored), wrapper?.decoder.contains(String(bare.prefix { $0 != "." })) == true {
                decoderCount += 1
            } else {
                unknown.append(stored)
            }
        }
        spelling = prefixes.names
        self.table = table
        self.weights = weights.mapValues { $0.sorted { $0.part < $1.part } }
        self.unknown = unknown.sorted()
        var notes = unused.sorted().map { "'\($0)' is left out: no use for it" }
        if decoderCount > 0, let wrapper { notes.append("the decoder of \(wrapper.method) (\(decoderCount) tensors) is left out") }
        self.notes = notes
    }

    // MARK: Names

    /// A spelling, what wrappers put before every name, and what files of base models leave out.
    private struct Prefixes {
        let names: WeightNames
        let removed: String
        let added: String
    }

    private static func prefixes(
        _ source: WeightSource, _ table: NameTable, _ families: [StoredNames], _ wrappers: [WrappedNames]
    ) -> Prefixes? {
        let wrapped = wrappers.map(\.encoderPrefix)
        let removed = ["", "module.", "model."] + wrapped + wrapped.map { "module." + $0 }
        let added = [""] + families.map(\.hubPrefix).filter { !$0.isEmpty }
        var best: (count: Int, prefixes: Prefixes)?
        for names in WeightNames.allCases {
            for removed in removed {
                for added in added where added.isEmpty || names != .timm {
                    let prefixes = Prefixes(names: names, removed: removed, added: added)
                    let count = source.tensors.keys.count { weight($0, prefixes, table) != nil }
                    if count > best?.count ?? 0 { best = (count, prefixes) }
                }
            }
        }
        return best?.prefixes
    }

    private static func without(_ prefix: String, _ name: String) -> String? {
        name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : nil
    }

    private static func weight(_ stored: String, _ prefixes: Prefixes, _ table: NameTable) -> NameTable.Found? {
        guard let bare = without(prefixes.removed, stored) else { return nil }
        // A base model lacks the prefix of the encoder only.
        return table.weight(stored: prefixes.added + bare, in: prefixes.names)
            ?? (prefixes.added.isEmpty ? nil : table.weight(stored: bare, in: prefixes.names))
    }

    /// The pieces in which the file should have a weight.
    func pieces(of specification: ParameterSpecification) -> [NameTable.Piece] { table.pieces(of: specification, in: spelling) }

    // MARK: Shapes

    func shape(_ weight: String) -> [Int]? { weights[weight]?.first?.tensor.entry.shape }

    func storedName(_ weight: String) -> String { weights[weight]?.first?.stored ?? weight }

    func tensor(_ weight: String) throws -> Tensor? {
        guard let part = weights[weight]?.first else { return nil }
        let values = try Tensor(part.tensor.entry.shape)
        guard (try? part.tensor.read(into: values.float32)) != nil else { return nil }
        return values
    }

    func has(_ prefix: String) -> Bool { weights.keys.contains { $0.hasPrefix(prefix) } }

    func depth(of series: String) -> Int {
        weights.keys.reduce(0) { depth, name in
            guard name.hasPrefix(series + "."), let number = Int(name.dropFirst(series.count + 1).prefix { $0 != "." }) else {
                return depth
            }
            return max(depth, number < 1 << 20 ? number + 1 : 0)
        }
    }
}

extension StoredNames {
    /// Whether a stored name, with or without the prefix, is that of a weight without use.
    fileprivate func isUnused(_ name: String) -> Bool {
        unused.contains(name) || name.hasPrefix(hubPrefix) && unused.contains(String(name.dropFirst(hubPrefix.count)))
    }
}
