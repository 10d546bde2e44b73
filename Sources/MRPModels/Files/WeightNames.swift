/// The spellings under which others store weights. Networks that have one name everywhere have it in all of them.
public enum WeightNames: String, CaseIterable, Sendable {
    /// Files on the Hugging Face hub, and transformers 4.
    case hub
    /// timm, and facebookresearch/mae; the names that this library uses itself.
    case timm
    /// `state_dict()` of transformers 5.
    case transformers5
    /// What `save_pretrained` of transformers 5.23 writes: hub names, but for the decoder's blocks.
    case transformers5Saved = "transformers5_saved"
}

/// The names of a weight in all spellings, without `.weight`, `.bias` and the like. `*` stands for a number; names separated by `|` are equal
/// parts of the rows. To add a network is to add its rows.
public struct NameRow: Sendable {
    /// Ours, which are timm's.
    public let name: String
    private let hub: String
    private let transformers5: String
    private let transformers5Saved: String

    /// Names that are left out: ours on the hub, the hub's in transformers 5.
    public init(_ name: String, hub: String? = nil, transformers5: String? = nil, transformers5Saved: String? = nil) {
        self.name = name
        self.hub = hub ?? name
        self.transformers5 = transformers5 ?? self.hub
        self.transformers5Saved = transformers5Saved ?? self.hub
    }

    public subscript(names: WeightNames) -> String {
        switch names {
        case .timm: name
        case .hub: hub
        case .transformers5: transformers5
        case .transformers5Saved: transformers5Saved
        }
    }
}
