/// The part of the tokens of an encoder that a classifier reads.
public enum Pooling: String, CaseIterable, Sendable {
    /// Mean over patch tokens, then a layer norm (`fc_norm`), as MAE fine-tunes.
    case mean
    /// Class token after the encoder's final norm.
    case cls
}
