/// Pretraining or fine-tuning; some options may be given for one phase only, as `pretrain.epochs`.
public enum Phase: String, CaseIterable, Sendable {
    case pretrain
    case finetune

    /// The key of an option for this phase alone.
    func key(_ key: String) -> String { "\(rawValue).\(key)" }
}
