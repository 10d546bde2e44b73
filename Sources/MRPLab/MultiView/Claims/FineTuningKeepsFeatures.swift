/// Fine-tuning loses no captured feature.
///
/// Used by Theorem 2 of arXiv 2206.03826: with a learning rate much smaller than the head's the pretrained encoder keeps what it
/// captured. At finite size no captured feature is lost on any seed. A kernel whose second correlation is just below rho-bar may cross it, so
/// that the number of kernels with several features stays is a statement of most seeds: of three in four.
struct FineTuningKeepsFeatures: Claim {
    let id = "fine_tuning_keeps_features"
    let statement = "Fine-tuning loses no captured feature."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let tuned = result.finetuning, let before = result.pretraining?.final else { return [] }
        let lost = zip(before.isCaptured, tuned.features.isCaptured).count { $0 && !$1 }
        return [
            Check(id, "captured features lost", .atMost(0), Double(lost)),
            Check(
                id, "change of kernels with several features", .between(0, 0),
                Double(tuned.features.mixed - before.mixed), form: .share(0.75)),
        ]
    }
}
