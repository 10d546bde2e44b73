import MRPEngine
import MRPModels

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
    /// Stored names that are known to be of no use for an encoder, sorted.
    let ignored: [String]
    /// How many tensors belong to the decoder of SparK, which is read by nothing here.
    let sparkCount: Int

    /// What wrappers put before every name, and what base models of transformers leave out.
    private static let removed = ["", "module.", "model.", spark, "module." + spark]
    private static let added = ["", "vit."]
    /// SparK's name for its encoder (https://github.com/keyu-tian/SparK), and what stands beside it in a checkpoint.
    private static let spark = "sparse_encoder.sp_cnn."
    private static let sparkDecoder: Set<Substring> = [
        "mask_tokens", "densify_norms", "densify_projs", "dense_decoder", "imn_m", "imn_s", "norm_black",
    ]

    /// The pooler of transformers' ViTModel takes part in no classifier.
    private static let useless: Set<String> = ["pooler.dense.weight", "pooler.dense.bias"]

    /// Recognises the spelling: the one that explains most names. nil when none explains any.
    init?(_ source: WeightSource) {
        let table = NameTable()
        var best: (count: Int, names: WeightNames, removed: String, added: String)?
        for names in WeightNames.allCases {
            for removed in Self.removed {
                for added in Self.added where added.isEmpty || names != .timm {
                    let count = source.tensors.keys.reduce(0) { sum, name in
                        sum + (Self.weight(name, names, removed, added, table) == nil ? 0 : 1)
                    }
                    if count > best?.count ?? 0 { best = (count, names, removed, added) }
                }
            }
        }
        guard let best else { return nil }
        spelling = best.names
        self.table = table
        var weights: [String: [Part]] = [:]
        var (unknown, ignored): ([String], [String]) = ([], [])
        let wrapper = best.removed.hasSuffix(Self.spark) ? String(best.removed.dropLast(Self.spark.count)) : nil
        var sparkCount = 0
        // torch counts the batches that a batch norm has seen; nothing that it computes with the default momentum depends on it.
        for (stored, tensor) in source.tensors where !stored.hasSuffix(".num_batches_tracked") {
            if let found = Self.weight(stored, best.names, best.removed, best.added, table) {
                weights[found.name, default: []].append(Part(stored: stored, part: found.part, parts: found.parts, tensor: tensor))
            } else if let bare = Self.without(best.removed, stored), Self.useless.contains(Self.without("vit.", bare) ?? bare) {
                ignored.append(stored)
            } else if let bare = wrapper.flatMap({ Self.without($0, stored) }), Self.sparkDecoder.contains(bare.prefix { $0 != "." }) {
                sparkCount += 1
            } else {
                unknown.append(stored)
            }
        }
        self.weights = weights.mapValues { $0.sorted { $0.part < $1.part } }
        self.unknown = unknown.sorted()
        self.ignored = ignored.sorted()
        self.sparkCount = sparkCount
    }

    private static func without(_ prefix: String, _ name: String) -> String? {
        name.hasPrefix(prefix) ? String(name.dropFirst(prefix.count)) : nil
    }

    private static func weight(
        _ stored: String, _ names: WeightNames, _ removed: String, _ added: String, _ table: NameTable
    ) -> NameTable.Found? {
        guard let bare = without(removed, stored) else { return nil }
        // A base model lacks the prefix of the encoder only.
        return table.weight(stored: added + bare, in: names) ?? (added.isEmpty ? nil : table.weight(stored: bare, in: names))
    }

    /// The pieces in which the file should have a weight.
    func pieces(of specification: ParameterSpecification) -> [NameTable.Piece] { table.pieces(of: specification, in: spelling) }

    // MARK: Shapes

    func shape(_ weight: String) -> [Int]? { weights[weight]?.first?.tensor.entry.shape }

    func storedName(_ weight: String) -> String { weights[weight]?.first?.stored ?? weight }

    func tensor(_ weight: String) -> Tensor? {
        guard let part = weights[weight]?.first, let values = try? Tensor(part.tensor.entry.shape),
            (try? part.tensor.read(into: values.float32)) != nil
        else { return nil }
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
