/// After fine-tuning the test error vanishes on multi-view and on single-view samples.
///
/// Theorem 2 of arXiv 2206.03826: the training loss is 1 / poly(k) and F_y >= max_{j != y} F_j + Omega~(1) with high probability on
/// both kinds. At finite size: accuracy at least 0.995 on every seed and 0.99 on nine in ten (a feature that pretraining missed costs some
/// single-view samples), training loss below 0.05 on every seed. Accuracy alone is weak evidence (see the
/// control with a random encoder), hence the loss and the margin.
struct NoTestError: Claim {
    let id = "no_test_error"
    let statement = "A fine-tuned pretrained network makes no test error on multi-view and on single-view samples."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let tuned = result.finetuning else { return [] }
        return [
            Check(id, "multi-view accuracy", .atLeast(0.995), tuned.test.multiView),
            Check(id, "single-view accuracy", .atLeast(0.99), tuned.test.singleView, form: .share(0.9)),
            Check(id, "training loss", .atMost(0.05), tuned.loss),
            Check(id, "mean margin, single-view", .atLeast(1), tuned.test.singleViewMargin.mean),
        ]
    }
}
