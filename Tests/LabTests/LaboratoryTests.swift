import MRPEngine
import MRPLab
import MRPOptions
import Testing

/// A quarter of a second: enough for captures, not for every threshold.
private func small() -> LabOptions {
    var options = LabOptions()
    options.classes = 4
    options.dimension = 24
    options.patches = 12
    options.presence = 1
    options.kernelsPerClass = 8
    options.initialDeviation = 0.1
    options.pretrainSamples = 80
    options.pretrainSteps = 110
    options.trainSamples = 80
    options.finetuneSteps = 20
    options.supervisedSteps = 20
    options.convergedSteps = 10
    options.testSamples = 40
    options.seeds = 1
    options.threads = 1
    return options
}

/// The text of a report without what may differ between equal runs.
private func text(_ report: LabReport) -> String { withoutTimes(report.json(correlations: true)).text(indent: 1) }

private func withoutTimes(_ value: JSON) -> JSON {
    switch value {
    case .object(let members):
        return .object(
            members.filter { !["seconds", "threads", "bytes", "data_bytes"].contains($0.key) }.map { ($0.key, withoutTimes($0.value)) })
    case .array(let values): return .array(values.map(withoutTimes))
    default: return value
    }
}

@Suite struct LaboratoryTests {
    /// One seed of the default regime meets the thresholds from float32 code.
    @Test func defaultRegimeMeetsItsClaims() throws {
        var options = LabOptions()
        options.seeds = 1
        options.controls = false
        let report = try Laboratory.run(options)
        #expect(report.claimsHold, "\(report.table)")
        let seed = try #require(report.seeds.first)
        let pretraining = try #require(seed.pretraining)
        #expect(pretraining.final.captured == 20)
        #expect(pretraining.initial.captured == 0)
        #expect(pretraining.series.map(\.step) == Array(stride(from: 0, through: 150, by: 10)))
        #expect(Set(seed.checks.map(\.claim)) == Set(LabOptions().claims.map(\.id)))
    }

    @Test func sameSeedSameBitsForAnyThreadCount() throws {
        var options = small()
        options.masks = .sampled
        options.pretrainSamples = 150
        options.controls = true
        let reference = text(try Laboratory.run(options))
        for threads in 2...3 {
            options.threads = threads
            #expect(text(try Laboratory.run(options)) == reference)
        }
        options.threads = 1
        options.firstSeed = 1
        #expect(text(try Laboratory.run(options)) != reference)
    }

    @Test func teachersDiffer() throws {
        var captured: [LabOptions.TeacherKind: Int] = [:]
        for kind in LabOptions.TeacherKind.allCases {
            var options = small()
            options.teacher = kind
            options.finetune = false
            options.supervised = false
            options.frozenProbe = false
            options.controls = false
            captured[kind] = try Laboratory.run(options).seeds[0].pretraining?.final.captured
        }
        #expect(captured[.scaled] ?? 0 >= 6)
        #expect(captured[.ema] == 0)
        #expect(captured[.fixed] == 0)
    }

    @Test func float64AgreesAtFirst() throws {
        var options = small()
        options.pretrainSteps = 30
        options.controls = false
        let float32 = try #require(try Laboratory.run(options).seeds[0].pretraining)
        options.precision = .float64
        let float64 = try #require(try Laboratory.run(options).seeds[0].pretraining)
        #expect(largestDifference(float32.final.lambda, float64.final.lambda) < 1e-3)
        #expect((float32.loss - float64.loss).magnitude < 1e-3 * float64.loss)
    }

    @Test func stochasticDescentRuns() throws {
        var options = small()
        options.pretrainBatch = 16
        options.trainBatch = 16
        options.controls = false
        let seed = try Laboratory.run(options).seeds[0]
        #expect(try #require(seed.pretraining).final.captured > 0)
        #expect(try #require(seed.finetuning).loss.isFinite)
    }

    @Test func divergenceIsReportedNotThrown() throws {
        var options = small()
        options.stepRule = .plain
        options.pretrainRate = 1e6
        options.tau = 2
        options.controls = false
        let report = try Laboratory.run(options)
        #expect(report.seeds[0].pretraining?.divergedAt != nil)
        #expect(!report.claimsHold)
        #expect(report.json().text().contains("\"diverged_at\""))
    }

    @Test func progressCountsAndStops() throws {
        var options = small()
        options.seeds = 2
        var last = LabProgress()
        var isMonotone = true
        _ = try Laboratory.run(options) { progress in
            isMonotone = isMonotone && progress.fraction >= last.fraction
            last = progress
            return true
        }
        #expect(isMonotone)
        #expect(last.seedIndex == 1 && last.seeds == 2)
        #expect(last.fraction > 0.99)
        var calls = 0
        #expect(throws: LabCancelled.self) {
            try Laboratory.run(options) { _ in
                calls += 1
                return calls < 5
            }
        }
        #expect(calls == 5)
        var flag: Int32 = 1
        #expect(throws: LabCancelled.self) { try Laboratory.run(options, cancel: &flag) }
    }

    @Test func reportsAreReadable() throws {
        var options = small()
        options.seeds = 2
        options.controls = true
        let report = try Laboratory.run(options)
        let text = report.json().text(indent: 1)
        let read = try JSON.parse(text)
        #expect(read["claims"]?.array?.count == LabOptions().claims.count)
        #expect(read["seeds"]?.array?.count == 2)
        #expect(read["controls"]?.array?.count == 7)
        #expect(read["note"]?.string == report.note)
        #expect(report.table.contains("verdict"))
        #expect(report.table(seed: 1).hasPrefix("seed 1\n"))
        #expect(report.table(seed: 2) == "")
        let map = try #require(report.seeds[0].correlations("initial"))
        #expect(map.values.count == 32 * 8)
        #expect(map.values.max() == report.seeds[0].pretraining?.initial.lambda.max())
    }

    @Test func progressHasNames() throws {
        var last = LabProgress()
        #expect(last.secondsLeft.isNaN)
        _ = try Laboratory.run(small()) {
            last = $0
            return true
        }
        #expect(last.fraction == 1)
        #expect(last.value("step") == Double(last.steps))
        #expect(last.value("seeds") == 1)
        #expect(last.value("seed") == 0)
        #expect(last.value("seconds_left") == 0)
        #expect(last.value("seconds") == last.seconds && last.seconds > 0)
        #expect(last.value("epoch") == nil)
    }

    @Test func everyRowHasAStatement() throws {
        let report = try Laboratory.run(small())
        for row in report.summaries {
            #expect(!report.statement(of: row.claim).isEmpty)
            #expect(row.threshold.admits(row.threshold.limits.low) || row.threshold.limits.low == -.infinity)
            #expect(row.threshold.admits(row.threshold.limits.high) || row.threshold.limits.high == .infinity)
        }
        #expect(report.statement(of: "nothing") == "")
    }

    @Test func presetsAreValid() throws {
        for preset in OptionTable.laboratory.presets { try LabOptions(preset: preset.name).validate() }
    }

    @Test func thresholdsRefuseNaN() {
        for threshold in [Threshold.atLeast(0), .atMost(1), .between(0, 1)] {
            #expect(threshold.admits(0.5))
            #expect(!threshold.admits(.nan))
        }
        #expect(!Threshold.atLeast(1).admits(0.5) && !Threshold.atMost(0).admits(0.5) && !Threshold.between(1, 2).admits(2.5))
        #expect(Threshold.atLeast(0.12345).text == ">= 0.1235" && Threshold.between(-2, 1e-7).text == "-2 ... 1e-07")
    }
}
