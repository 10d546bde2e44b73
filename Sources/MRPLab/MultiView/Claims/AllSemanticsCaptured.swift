/// Pretraining without labels captures every discriminative semantic.
///
/// Theorem 1 of arXiv 2206.03826: after T = poly(k) / eta steps every Lambda_{i,l} = max_r [<w_r, v_{i,l}>]^+ is at least
/// 1 / polylog(k), from an initial O~(sigma_0). At finite size, on every seed: at least 95 % of the 2 k features reach Lambda >= rho-bar.
struct AllSemanticsCaptured: Claim {
    let id = "all_semantics_captured"
    let statement = "Pretraining without labels captures every feature of every class."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let state = result.pretraining?.final else { return [] }
        let limit = (0.95 * Double(2 * options.classes)).rounded(.up)
        return [
            Check(
                id, "features captured before labels, of \(2 * options.classes)", .atLeast(limit), Double(state.captured)
            )
        ]
    }
}
