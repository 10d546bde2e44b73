/// The spellings under which others store weights. Networks that have one name everywhere have it in all of them.
public enum WeightNames: String, CaseIterable, Sendable {
    /// Files on the Hugging Face hub, and transformers 4.
    case hub
    /// timm, and facebookresearch/mae; the names that this library uses itself.
    case timm
    /// `state_dict()` of transformers 5.
    case transformers5
    /// Files of `save_pretrained` of transformers 5.23: hub names, but for the decoder's blocks.
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

/// The names of the weights of an encoder as others store them.
public struct StoredNames: Sendable {
    public let rows: [NameRow]
    /// Begins the encoder's names on the hub; files of base models lack it. Empty: there are no such files.
    public let hubPrefix: String
    /// Stored names, without the prefix, of weights that are of no use here.
    public let unused: Set<String>

    public init(_ rows: [NameRow], hubPrefix: String = "", unused: Set<String> = []) {
        self.rows = rows
        self.hubPrefix = hubPrefix
        self.unused = unused
    }
}

/// Names in checkpoints of a method's own code, which hold the encoder beside other parts.
public struct WrappedNames: Sendable {
    /// The method's name, for remarks.
    public let method: String
    /// Begins the names of the encoder's weights.
    public let encoderPrefix: String
    /// First components of the names of the decoder, which is not read.
    public let decoder: Set<String>

    public init(_ method: String, encoderPrefix: String, decoder: Set<String>) {
        self.method = method
        self.encoderPrefix = encoderPrefix
        self.decoder = decoder
    }
}
