/// Supervised learning from scratch captures about half of the features and fails on single-view samples of the others.
///
/// Allen-Zhu & Li (2020), the comparison of arXiv 2206.03826: multi-view test error about 0, single-view error about one half,
/// because a class that is recognised by one view has no reason to learn the other. At finite size: training accuracy at least
/// 0.97, multi-view at least 0.995, 45 to 70 % of the features, single-view accuracy 0.48 to 0.75, at least 0.99 on captured and at
/// most 0.20 on missed views.
struct SupervisedCapturesHalf: Claim {
    let id = "supervised_captures_half"
    let statement = "Supervised learning captures about half of the features and fails on the views it missed."

    func checks(_ result: SeedResult, _ options: LabOptions) -> [Check] {
        guard let supervised = result.supervised else { return [] }
        let features = Double(2 * options.classes)
        let range = Threshold.between((0.45 * features).rounded(), (0.7 * features).rounded())
        return [
            Check(id, "training accuracy", .atLeast(0.97), supervised.trainAccuracy),
            Check(id, "multi-view accuracy", .atLeast(0.995), supervised.test.multiView),
            Check(id, "features captured, of \(2 * options.classes)", range, Double(supervised.features.captured)),
            Check(id, "single-view accuracy", .between(0.48, 0.75), supervised.test.singleView),
            Check(id, "accuracy on captured views", .atLeast(0.99), supervised.test.capturedView),
            Check(id, "accuracy on missed views", .atMost(0.2), supervised.test.missedView),
        ]
    }
}
