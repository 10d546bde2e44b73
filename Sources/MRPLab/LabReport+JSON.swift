import MRPEngine

extension LabReport {
    /// The whole report. NaN becomes null. `correlations` adds the K x 2 k maps of every seed, for heat maps.
    public func json(correlations: Bool = false) -> JSON {
        .object([
            ("format", .string("mrp-lab-report")), ("version", .integer(1)), ("experiment", .string(options.experiment.rawValue)),
            ("note", .string(note)),
            ("claims_hold", .bool(claimsHold)), ("controls_hold", .bool(controlsHold)),
            ("claims", .array(claimObjects)), ("controls", .array(controlObjects)),
            ("seeds", .array(seeds.map { Self.seed($0, correlations) })), ("options", options.json),
            (
                "provenance",
                .object([
                    ("paper", .string(options.definition.paper)), ("instructions", .string(instructions)), ("threads", .integer(threads)),
                    ("bytes", .integer(bytes)), ("seconds", .number(seconds)),
                ])
            ),
        ])
    }

    private var claimObjects: [JSON] {
        options.claims.map { claim in
            let own = summaries.filter { $0.claim == claim.id }
            return .object([
                ("id", .string(claim.id)), ("statement", .string(claim.statement)), ("was_run", .bool(!own.isEmpty)),
                ("holds", own.isEmpty ? .null : .bool(own.allSatisfy(\.holds))), ("checks", .array(own.map(Self.summary))),
            ])
        }
    }

    private var controlObjects: [JSON] {
        let arms = seeds.first?.arms.filter(\.isControl).map { ($0.id, $0.statement) } ?? []
        let controls = (seeds.first?.controls ?? []).map { ($0.id, $0.statement) } + arms
        return controls.map { id, statement in
            let own = summaries.filter { $0.isControl && $0.claim == id }
            return .object([
                ("id", .string(id)), ("statement", .string(statement)), ("holds", .bool(own.allSatisfy(\.holds))),
                ("checks", .array(own.map(Self.summary))),
            ])
        }
    }

    private static func summary(_ summary: Summary) -> JSON {
        .object([
            ("quantity", .string(summary.quantity)), ("threshold", .string(summary.thresholdText)),
            ("mean", .number(summary.mean)), ("minimum", .number(summary.minimum)), ("maximum", .number(summary.maximum)),
            ("holding", .integer(summary.holding)), ("seeds", .integer(summary.seeds)), ("judged_by", .string(summary.form.name)),
            ("confidence_interval", summary.interval.map { .array([.number($0.low), .number($0.high)]) } ?? .null),
            ("holds", .bool(summary.holds)),
        ])
    }

    private static func seed(_ result: SeedResult, _ correlations: Bool) -> JSON {
        var members: [(key: String, value: JSON)] = [
            ("seed", .integer(result.seed)), ("claims_hold", .bool(result.claimsHold)),
            ("controls_hold", .bool(result.controlsHold)),
            ("checks", .array(result.checks.map(check))),
            ("pretraining", result.pretraining.map(pretraining) ?? .null),
            ("finetuning", result.finetuning.map(classifier) ?? .null),
            ("frozen_probe", result.frozenProbe.map(classifier) ?? .null),
            ("supervised", result.supervised.map(classifier) ?? .null),
            ("controls", .array(result.controls.map(control))),
            ("arms", .array(result.arms.map(arm))),
        ]
        if correlations { members.append(("correlations", .object(result.correlations.map { ($0.moment, map($0.map)) }))) }
        members.append(("seconds", .number(result.seconds)))
        return .object(members)
    }

    private static func pretraining(_ result: PretrainingResult) -> JSON {
        .object([
            ("initial", state(result.initial)), ("final", state(result.final)), ("leaders_that_won", .number(result.leadersThatWon)),
            ("kernels_that_kept_their_feature", .number(result.kernelsThatKept)), ("loss", .number(result.loss)),
            ("diverged_at", result.divergedAt.map(JSON.integer) ?? .null), ("series", .array(result.series.map(point))),
            ("seconds", .number(result.seconds)),
        ])
    }

    private static func arm(_ result: ArmResult) -> JSON {
        .object([
            ("id", .string(result.id)), ("statement", .string(result.statement)), ("is_control", .bool(result.isControl)),
            ("numbers", .object(result.numbers.map { ($0.name, .number($0.value)) })), ("seconds", .number(result.seconds)),
        ])
    }

    private static func check(_ check: Check) -> JSON {
        .object([
            ("claim", .string(check.claim)), ("quantity", .string(check.quantity)), ("threshold", .string(check.thresholdText)),
            ("measured", .number(check.measured)), ("holds", .bool(check.holds)), ("is_control", .bool(check.isControl)),
        ])
    }

    private static func control(_ control: ControlResult) -> JSON {
        .object([
            ("id", .string(control.id)), ("features", state(control.features)), ("loss", .number(control.loss)),
            ("diverged_at", control.divergedAt.map(JSON.integer) ?? .null),
            ("train_accuracy", control.trainAccuracy.map(JSON.number) ?? .null), ("test", control.test.map(test) ?? .null),
            ("seconds", .number(control.seconds)),
        ])
    }

    private static func classifier(_ result: ClassifierResult) -> JSON {
        .object([
            ("features", state(result.features)), ("loss", .number(result.loss)), ("train_accuracy", .number(result.trainAccuracy)),
            ("test", test(result.test)), ("diverged_at", result.divergedAt.map(JSON.integer) ?? .null),
            ("series", .array(result.series.map(point))), ("seconds", .number(result.seconds)),
        ])
    }

    private static func point(_ point: ProbePoint) -> JSON {
        .object([
            ("step", .integer(point.step)), ("loss", .number(point.loss)), ("features", state(point.features)),
            ("train_accuracy", .number(point.trainAccuracy)), ("test", point.test.map(test) ?? .null),
        ])
    }

    private static func state(_ state: FeatureState) -> JSON {
        .object([
            ("captured", .integer(state.captured)), ("active_kernels", .integer(state.active)),
            ("pure_kernels", .integer(state.pure)), ("mixed_kernels", .integer(state.mixed)),
            ("mixed_across_classes", .integer(state.mixedAcrossClasses)), ("lambda", .array(state.lambda.map(JSON.number))),
        ])
    }

    private static func test(_ test: TestResult) -> JSON {
        .object([
            ("multi_view", .number(test.multiView)), ("single_view", .number(test.singleView)),
            ("captured_view", .number(test.capturedView)), ("missed_view", .number(test.missedView)),
            ("multi_view_margin", margin(test.multiViewMargin)), ("single_view_margin", margin(test.singleViewMargin)),
        ])
    }

    private static func margin(_ margin: TestResult.Margin) -> JSON {
        .object([
            ("mean", .number(margin.mean)), ("lowest_1_percent", .number(margin.lowest1Percent)), ("minimum", .number(margin.minimum)),
        ])
    }

    private static func map(_ map: CorrelationMap) -> JSON {
        .array((0..<map.kernels).map { r in .array(map.values[r * map.features..<(r + 1) * map.features].map(JSON.number)) })
    }
}
