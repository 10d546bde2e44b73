import Glibc

/// Fixed 2-D sine-cosine positions as published MAE checkpoints hold them: `1 + gridHeight * gridWidth` rows of `width` values.
///
/// Row 0 (class token) is zero. For patch (row y, column x), with omega_k = 10000^(-k / (width / 4)), k = 0 ..< width / 4:
/// [sin(x omega), cos(x omega), sin(y omega), cos(y omega)]: the column comes first, as in facebookresearch/mae
/// (`util/pos_embed.py` names it the other way round, and the checkpoints rely on the values). Computed in float64.
/// `width` is a multiple of 4.
public func sinCosPositions(into table: UnsafeMutableBufferPointer<Float>, width: Int, gridHeight: Int, gridWidth: Int) {
    let quarter = width / 4
    table[..<width].update(repeating: 0)
    for y in 0..<gridHeight {
        for x in 0..<gridWidth {
            let row = (1 + y * gridWidth + x) * width
            for k in 0..<quarter {
                let omega = 1 / pow(10000, Double(k) / Double(quarter))
                table[row + k] = Float(sin(Double(x) * omega))
                table[row + quarter + k] = Float(cos(Double(x) * omega))
                table[row + 2 * quarter + k] = Float(sin(Double(y) * omega))
                table[row + 3 * quarter + k] = Float(cos(Double(y) * omega))
            }
        }
    }
}
