/// A kernel captures at most one semantic.
///
/// Theorem 1 of arXiv 2206.03826: the sets M_{i,l} of winning kernels are disjoint and a kernel's other correlations stay
/// O~(sigma_0). At finite size a captured view slowly pulls in the other view of its own class, so: at most 10 % of the active kernels
/// hold two features (nine seeds in ten), and at most 1 % features of two classes (every seed). As a statement about every kernel it is not confirmed here.
struct OneSemanticPerKernel: Claim {
    let id = "one_semantic_per_kernel"
    let statement = "A kernel captures at most one feature."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let state = result.pretraining?.final else { return [] }
        let active = state.active == 0 ? Double.nan : Double(state.active)
        return [
            Check(id, "active kernels with several features", .atMost(0.1), Double(state.mixed) / active, form: .share(0.9)),
            Check(id, "active kernels with features of several classes", .atMost(0.01), Double(state.mixedAcrossClasses) / active),
        ]
    }
}
