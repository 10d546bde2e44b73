import MRPEngine
import MRPOptions

/// Options of a network: images, encoder, decoder, classifier.
public enum NetworkOptions {
    private static let side = OptionType.integer(1...PatchGeometry.maximumSide)

    public static var encoder: Option<String> {
        Option("encoder", .name(among: Encoders.names), default: "vit_tiny", section: .network, Encoders.summary)
    }
    public static let imageSize = Option(
        "image_size", side, default: imageHeight.defaultValue, section: .network,
        "Height and width of the images that the network sees; setting it sets both.", sides: [imageHeight, imageWidth])
    public static let imageHeight = Option(
        "image_height", side, default: 32, section: .network, "Height of the images, in pixels: a multiple of the patch height.")
    public static let imageWidth = Option(
        "image_width", side, default: 32, section: .network, "Width of the images, in pixels: a multiple of the patch width.")
    public static let channels = Option(
        "channels", .integer(1...PatchGeometry.maximumChannels), default: 3, section: .network,
        "Channels of the images: 1 gray, 3 colour, any number for multispectral images.")
    public static let patchSize = Option(
        "patch_size", side, default: patchHeight.defaultValue, section: .network,
        "Height and width of a patch; setting it sets both.", sides: [patchHeight, patchWidth])
    public static let patchHeight = Option("patch_height", side, default: 4, section: .network, "Height of a patch, in pixels.")
    public static let patchWidth = Option("patch_width", side, default: 4, section: .network, "Width of a patch, in pixels.")
    public static let width = Option(
        "width", .integer(4...TransformerConfiguration.maximumWidth), auto: "the encoder's (64 in residual networks)", section: .network,
        "Width D of a token, a multiple of 4 and of heads; of a convolutional network the channels of its first stage.")
    public static let stem = Option(
        "stem", .choice(Stem.self), auto: "cifar below 64 pixels", section: .network,
        "How a convolutional network begins: imagenet makes the image four times smaller (7 x 7 with stride 2 and a maximum with stride 2; in ConvNeXt patches of 4 x 4), cifar keeps its size."
    )
    public static let cellSize = Option(
        "cell_size", side, auto: "just that, 32 with stem imagenet, 8 with cifar", section: .network,
        "Side of the cells by which the images of a convolutional network are masked, in pixels: a multiple of the network's downsampling.")
    public static let depth = Option(
        "depth", .integer(1...TransformerConfiguration.maximumDepth), auto: "the encoder's", section: .network,
        "Number of transformer blocks.")
    public static let heads = Option(
        "heads", .integer(1...TransformerConfiguration.maximumWidth), auto: "the encoder's", section: .network, "Attention heads.")
    public static let mlpRatio = Option(
        "mlp_ratio", .number(0.01...64), default: 4, section: .network, "Width of a block's hidden layer as a multiple of D.")
    public static let layerNormEps = Option(
        "layer_norm_eps", .number(1e-12...1), default: 1e-6, section: .network,
        "Epsilon of the layer norms (MAE and timm: 1e-6; Hugging Face's default: 1e-12).")
    public static let decoderWidth = Option(
        "decoder_width", .integer(4...TransformerConfiguration.maximumWidth), default: 128, section: .network,
        "Width of the decoder's tokens (He et al. 2021: 512 for ViT-B); in convolutional networks its channels at the last stage's resolution, which spark halves at each doubling of it (Tian et al. 2023: 512)."
    )
    public static let decoderDepth = Option(
        "decoder_depth", .integer(1...TransformerConfiguration.maximumDepth), default: 4, section: .network,
        "Blocks of the decoder (He et al. 2021: 8).")
    public static let decoderHeads = Option(
        "decoder_heads", .integer(1...TransformerConfiguration.maximumWidth), default: 4, section: .network,
        "Attention heads of the decoder (He et al. 2021: 16).")
    public static let pooling = Option(
        "pooling", .choice(Pooling.self), default: .mean, section: .network,
        "What the classifier reads: the mean over patches, or the class token.")
    public static let classes = Option(
        "classes", .integer(2...ClassifierHead.maximumClasses), auto: "the data's", section: .network, "Number of classes.")
    public static let headStd = Option(
        "head_deviation", .number(0...), auto: "as is usual for the encoder, 0.01 where it is frozen", section: .network,
        "Deviation of a fresh classifier's weights (He et al. 2021: 2e-5, for long fine-tuning).")

    /// Those of all networks, then what else a family reads.
    public static var all: [any OptionDeclaration] {
        let common: [any OptionDeclaration] = [
            encoder, imageSize, imageHeight, imageWidth, channels, patchSize, patchHeight, patchWidth, width, stem, cellSize, depth, heads,
            mlpRatio, layerNormEps, decoderWidth, decoderDepth, decoderHeads, pooling, classes, headStd,
        ]
        let keys = Set(common.map(\.definition.key))
        return common + Encoders.registry.all.flatMap(\.options).filter { !keys.contains($0.definition.key) }
    }
}

extension Options {
    /// Width of the hidden layer of blocks of this width.
    public func mlpWidth(_ width: Int) -> Int { max(1, Int((Double(width) * self[NetworkOptions.mlpRatio]).rounded())) }

    /// The transformer that predicts in pretraining.
    public func decoder() throws -> TransformerConfiguration {
        let width = self[NetworkOptions.decoderWidth]
        return try TransformerConfiguration(
            width: width, depth: self[NetworkOptions.decoderDepth], heads: self[NetworkOptions.decoderHeads], hidden: mlpWidth(width),
            role: "decoder")
    }
}
