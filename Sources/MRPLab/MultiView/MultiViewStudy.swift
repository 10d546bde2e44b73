/// What a study of the multi-view experiment writes for each cell.
extension MultiView {
    func studyColumns(_ options: LabOptions) -> [String] {
        [
            "growth", "kappa", "outcome", "captured", "features", "active", "mixed", "mixed_across_classes", "leaders_won",
            "lambda_min", "lambda_max", "loss", "diverged_at", "finetune_loss", "multi_view", "single_view", "margin",
            "sl_captured", "sl_train", "sl_multi_view", "sl_single_view", "sl_missed_view",
        ]
    }

    func studyRow(_ result: SeedResult, _ options: LabOptions) -> [String] {
        let pretraining = result.pretraining
        let state = pretraining?.final
        let numbers: [Double?] = [
            state.map { Double($0.captured) }, Double(2 * options.classes), state.map { Double($0.active) }, state.map { Double($0.mixed) },
            state.map { Double($0.mixedAcrossClasses) }, pretraining?.leadersThatWon, state?.lambda.min(), state?.lambda.max(),
            pretraining?.loss, pretraining?.divergedAt.map(Double.init), result.finetuning?.loss, result.finetuning?.test.multiView,
            result.finetuning?.test.singleView, result.finetuning?.test.singleViewMargin.mean,
            result.supervised.map { Double($0.features.captured) }, result.supervised?.trainAccuracy, result.supervised?.test.multiView,
            result.supervised?.test.singleView, result.supervised?.test.missedView,
        ]
        let outcome = pretraining.map { Self.outcome($0, options) } ?? ""
        return [Text.number(options.growth), Text.number(options.kappa), outcome] + numbers.map(Study.field)
    }

    /// Reads the pretraining as one of: no capture, partial, captures, runaway, diverged.
    static func outcome(_ result: PretrainingResult, _ options: LabOptions) -> String {
        if result.divergedAt != nil { return "diverged" }
        if (result.final.lambda.max() ?? 0) >= Controls.runawayLevel(options) { return "runaway" }
        let share = Double(result.final.captured) / Double(2 * options.classes)
        return share >= 0.95 ? "captures" : share > 0.1 ? "partial" : "no capture"
    }
}
