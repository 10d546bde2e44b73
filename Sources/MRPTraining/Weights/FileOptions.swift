import MRPOptions

/// Options of saving, and of what loading may change.
enum FileOptions {
    static let names = Option(
        "names", .choice(WeightNames.self), default: .hub, section: .files,
        "Names of the weights in a saved model: hub (Hugging Face files), timm (also those of facebookresearch/mae), transformers5 (its state_dict), transformers5_saved (its own files). Any of them is read."
    )
    static let weightsType = Option(
        "weights_type", .choice(among: [ElementFormat.float32, .float16, .bfloat16]), default: .float32, section: .files,
        "Numbers in a saved model. F64, F32, F16 and BF16 are read.")
    static let positions = Option(
        "positions", .choice(Positions.self), default: .keep, section: .files,
        "What loading does with positions for another image or patch size: keep (refuse), recompute the sine-cosine table, or interpolate as timm does."
    )
    static let patchWeights = Option(
        "patch_weights", .choice(PatchWeights.self), default: .keep, section: .files,
        "What loading does when patch_size is not the file's: keep (refuse), or resample the patch weights (Beyer et al. 2023).")
    static let channelWeights = Option(
        "channel_weights", .choice(ChannelWeights.self), default: .keep, section: .files,
        "What loading does when channels are not the file's: keep (refuse), repeat the channels' weights in turn, or average them.")
    static let classifier = Option(
        "classifier", .choice(Classifier.self), default: .keep, section: .files,
        "Whether loading keeps the file's classifier or leaves it out; new with classes set makes a fresh one.")

    static let all: [any OptionDeclaration] = [names, weightsType, positions, patchWeights, channelWeights, classifier]

    enum Positions: String, CaseIterable { case keep, recompute, bicubic }
    enum PatchWeights: String, CaseIterable { case keep, resample }
    enum ChannelWeights: String, CaseIterable { case keep, `repeat`, average }
    enum Classifier: String, CaseIterable { case keep, new }
}
