/// Precision of matrix products and convolutions, by PyTorch's names. Weights, moments, statistics, norms, softmax and losses are float32 in
/// each of them.
public enum MatmulPrecision: String, CaseIterable, Sendable {
    /// float32.
    case highest
    /// tf32 on devices that have it: float32 with operands of 10 bits.
    case high
    /// bfloat16 operands, float32 sums.
    case medium
}
