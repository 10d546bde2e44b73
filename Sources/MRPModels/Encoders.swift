/// The encoders by name: sizes of the plain vision transformer, and convolutional networks.
public enum Encoders {
    public static let sizes: [(name: String, width: Int, depth: Int, heads: Int)] = [
        ("vit_micro", 96, 4, 3), ("vit_mini", 128, 6, 4), ("vit_tiny", 192, 12, 3), ("vit_small", 384, 12, 6), ("vit_base", 768, 12, 12),
        ("vit_large", 1024, 24, 16), ("vit_huge", 1280, 32, 16),
    ]
    public static let residualNames = ResidualNetwork.sizes.map(\.name)
    public static let convolutionalNames = residualNames + ConvNeXt.sizes.map(\.name)
    public static let names = sizes.map(\.name) + convolutionalNames
}

/// Largest sizes of a transformer, in options and files.
public enum TransformerLimits {
    public static let width = 65_536
    public static let depth = 1_024
}
