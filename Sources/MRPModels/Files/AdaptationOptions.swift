import MRPEngine
import MRPOptions

/// Changes that loading may make so that a file's weights fit other images.
public enum AdaptationOptions {
    public static let positions = Option(
        "positions", .choice(Positions.self), default: .keep, section: .files,
        "What loading does with positions for another image or patch size: keep (refuse), recompute the sine-cosine table, or interpolate as timm does."
    )
    public static let patchWeights = Option(
        "patch_weights", .choice(PatchWeights.self), default: .keep, section: .files,
        "What loading does when patch_size is not the file's: keep (refuse), or resample the patch weights (Beyer et al. 2023).")
    public static let channelWeights = Option(
        "channel_weights", .choice(ChannelWeights.self), default: .keep, section: .files,
        "What loading does when channels are not the file's: keep (refuse), repeat the channels' weights in turn, or average them.")

    public static let all: [any OptionDeclaration] = [positions, patchWeights, channelWeights]

    public enum Positions: String, CaseIterable, Sendable { case keep, recompute, bicubic }
    public enum PatchWeights: String, CaseIterable, Sendable { case keep, resample }
    public enum ChannelWeights: String, CaseIterable, Sendable { case keep, `repeat`, average }
}

extension ImageEncoder {
    /// Refuses other channels than the file's unless the options say how their weights come about.
    func checkChannels(_ channels: Int, _ options: Options) throws {
        if channels != geometry.channels, options[AdaptationOptions.channelWeights] == .keep {
            throw MRPError(
                .argument,
                "the file has \(geometry.channels) channels, option channels is \(channels): set channel_weights=repeat or average")
        }
    }

    /// A remark on the weights of other channels, which `noun` names; none for the same channels.
    func channelNotes(_ noun: String, _ channels: Int, _ options: Options) -> [String] {
        guard channels != geometry.channels else { return [] }
        let change = options[AdaptationOptions.channelWeights] == .average ? "averaged" : "repeated"
        return ["\(noun) of \(geometry.channels) channels became \(channels): \(change)"]
    }
}
