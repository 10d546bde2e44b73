import MRPEngine
import MRPOptions
import Testing

@testable import MRPLab

/// Milliseconds a seed.
private func hierarchical() throws -> LabOptions {
    var options = try LabOptions(preset: "hierarchical")
    options.subclasses = 4
    options.dimension = 16
    options.patches = 8
    options.patchesPerFeature = 2
    options.kernelsPerClass = 4
    options.trainSamples = 120
    options.trainBatch = 40
    options.supervisedSteps = 40
    options.pretrainSamples = 60
    options.pretrainSteps = 10
    options.testSamples = 60
    options.seeds = 1
    options.threads = 1
    return options
}

private func routing() throws -> LabOptions {
    var options = try LabOptions(preset: "patch_routing")
    options.sampleSizes = [20, 40]
    options.epochs = 20
    options.testSamples = 100
    options.lemmaSamples = 400
    options.randomRouters = 2
    options.seeds = 1
    options.threads = 1
    return options
}

private func text(_ report: LabReport) -> String {
    report.seeds.map { seed in
        seed.arms.map { "\($0.id) \($0.numbers)" }.joined() + "\(seed.checks.map(\.measured))\(seed.pretraining?.final.lambda ?? [])"
    }.joined()
}

@Suite struct ExperimentTests {
    /// Easy and hard samples of the definition (related to arXiv 2410.23129, section on the data).
    @Test func subclassesFollowTheDefinition() throws {
        var options = try hierarchical()
        options.noise = 0
        let distribution = try PatchDistribution(options, seed: 2)
        let (P, d, count) = (options.patches, options.dimension, 300)
        for kind in [PatchDistribution.Kind.easy, .hard] {
            let samples = try PatchSamples(distribution, kind: kind, count: count)
            var labels = [0, 0]
            for n in 0..<count {
                let (label, subclass) = (Int(samples.labels[n]), Int(samples.shownView[n]))
                labels[label] += 1
                #expect(samples.isSingleView[n] == (kind == .hard ? 1 : 0))
                var patches = [Int: [Double]]()
                for p in 0..<P {
                    let feature = Int(samples.origin[n * P + p])
                    guard feature >= 0 else { continue }
                    let z = (0..<d).reduce(0.0) { $0 + Double(samples.x[(n * P + p) * d + $1]) * distribution.features[feature * d + $1] }
                    patches[feature, default: []].append(z)
                }
                let fine = 2 + label * options.subclasses + subclass
                let common = kind == .easy ? label : 1 - label
                #expect(Set(patches.keys) == [fine, common])
                #expect(patches[fine]?.count == 2 && patches[common]?.count == (kind == .easy ? 2 : 1))
                #expect(patches[fine]?.allSatisfy { $0 > 0.899 && $0 < 1.101 } == true)
                #expect(patches[common]?.allSatisfy { kind == .easy ? $0 > 0.899 : $0 > 0.299 && $0 < 0.401 } == true)
            }
            #expect(labels.allSatisfy { $0 > 110 })
        }
    }

    /// Unit patches, one of which is the class's own pattern; balanced classes; correlations of the dictionary.
    @Test func patternsFollowTheDefinition() throws {
        var options = try routing()
        options.deltaD = 0.6
        let distribution = try PatchDistribution(options, seed: 5)
        let (P, d, rows) = (options.patches, options.dimension, distribution.features)
        func product(_ a: Int, _ b: Int) -> Double { (0..<d).reduce(0.0) { $0 + rows[a * d + $1] * rows[b * d + $1] } }
        #expect((product(0, 1) - 0.6).magnitude < 1e-12)
        for row in 0..<distribution.featureCount { #expect((product(row, row) - 1).magnitude < 1e-12) }
        for set in 2..<distribution.featureCount { #expect(product(0, set).magnitude <= options.deltaR + 1e-12) }
        let samples = try PatchSamples(distribution, count: 60)
        #expect(Array(samples.labels) == (0..<60).map { Int32($0 % 2) })
        for n in 0..<60 {
            for p in 0..<P {
                let patch = (0..<d).map { Double(samples.x[(n * P + p) * d + $0]) }
                #expect((patch.reduce(0) { $0 + $1 * $1 } - 1).magnitude < 1e-5)
                let origin = Int(samples.origin[n * P + p])
                let tells = p == Int(samples.shownView[n])
                #expect(tells ? origin == Int(samples.labels[n]) : origin >= 2)
                if tells { #expect((0..<d).allSatisfy { (patch[$0] - rows[origin * d + $0]).magnitude < 1e-6 }) }
            }
        }
    }

    @Test func sameBitsForAnyThreadCount() throws {
        for make in [hierarchical, routing] {
            var options = try make()
            let reference = text(try Laboratory.run(options))
            options.threads = 3
            #expect(text(try Laboratory.run(options)) == reference)
            options.firstSeed = 1
            #expect(text(try Laboratory.run(options)) != reference)
        }
    }

    /// Two experts that see every patch, by loops in double, and the plain network, by the fast kernels.
    @Test func expertsThatSeeAllPatchesAreThePlainNetwork() throws {
        var options = try routing()
        options.precision = .float64
        options.capacity = options.patches
        let result = try #require(try Laboratory.run(options).seeds.first)
        let (cnn, separate) = try (#require(result.arm("cnn")), #require(result.arm("separate")))
        for size in [20, 40] { #expect(cnn.number("accuracy_\(size)") == separate.number("accuracy_\(size)")) }
        #expect(result.arm("all_patches")?.number("difference") == 0)
        #expect(separate.number("hit_20") == 1)
    }

    @Test func reportsHaveTheSameForm() throws {
        for (make, arms) in [(hierarchical, 4), (routing, 8)] {
            let report = try Laboratory.run(make())
            let json = try JSON.parse(report.json(correlations: true).text())
            #expect(json["experiment"]?.string == report.options.experiment.rawValue)
            #expect(json["seeds"]?.array?.first?["arms"]?.array?.count == arms)
            #expect(report.table.contains(report.note))
            for row in report.summaries { #expect(!report.statement(of: row.claim).isEmpty) }
            #expect(report.summaries.contains { $0.isControl } && report.summaries.first?.isControl == false)
            var last = LabProgress()
            _ = try Laboratory.run(make()) {
                last = $0
                return true
            }
            #expect(last.fraction > 0.98 && last.fraction <= 1)
        }
    }

    @Test func anExperimentHasItsOwnOptions() throws {
        var options = LabOptions()
        let error = #expect(throws: MRPError.self) { try options.set("k_s", "3") }
        #expect(error?.message == "option 'subclasses' belongs to the laboratory's preset hierarchical, not to multiview")
        options = try LabOptions(preset: "patch_routing")
        #expect(throws: MRPError.self) { try options.text("tau") }
        #expect(throws: MRPError.self) { try Study(options, axes: [.init("mu", ["0.1"])]) }
        let known = Set(LabOption.all.map { $0.definition.key })
        for name in LabOptions.ExperimentName.allCases {
            let experiment = try #require(LabOptions.experiments[name])
            #expect(experiment.keys.isSubset(of: known))
            #expect(experiment.presets.first?.name == name.rawValue)
        }
        for (key, value) in [("samples", "20,10"), ("samples", "21"), ("samples", ""), ("capacity", "17"), ("joint_experts", "7")] {
            options = try LabOptions(preset: "patch_routing")
            try options.set(key, value)
            #expect(throws: MRPError.self) { try options.validate() }
        }
        for (key, value) in [("subclasses", "50"), ("groups", "21"), ("distractor_low", "0.5"), ("C_p", "9"), ("train_batch", "2001")] {
            options = try LabOptions(preset: "hierarchical")
            try options.set(key, value)
            #expect(throws: MRPError.self) { try options.validate() }
        }
    }

    /// A study of an experiment has a column for each number of its arms.
    @Test func studiesHaveTheArmsNumbers() throws {
        for make in [hierarchical, routing] {
            var options = try make()
            options.controls = false
            let result = try #require(try Laboratory.run(options).seeds.first)
            let definition = options.definition
            #expect(definition.studyColumns(options).count == definition.studyRow(result, options).count)
        }
    }
}

@Suite struct VerdictTests {
    @Test func everySeedMeansEverySeed() {
        #expect(Check.Form.everySeed.holds([1, 2], .atLeast(1)))
        #expect(!Check.Form.everySeed.holds([1, 0.9], .atLeast(1)))
        #expect(!Check.Form.everySeed.holds([1, .nan], .atLeast(1)))
    }

    /// 2.58 standard errors: strict for many seeds, lenient for one.
    @Test func aMeanIsAllowedItsError() {
        let form = Check.Form.mean(deviation: 1)
        #expect(form.holds([2.5], .atMost(0)) && !form.holds([2.6], .atMost(0)))
        #expect(!form.holds([Double](repeating: 0.3, count: 100), .atMost(0)))
        #expect(form.holds([Double](repeating: 0.2, count: 100), .between(-1, 0)))
        #expect(!form.holds([.nan], .atMost(0)))
    }

    @Test func aShareFailsWhenTooFewHold() {
        let form = Check.Form.share(0.9)
        #expect(form.holds([0, 0, 0, 1, 1], .atMost(0)) && !form.holds([0, 0, 1, 1, 1], .atMost(0)))
        #expect(form.holds([1], .atMost(0)))
        #expect(!Check.Form.share(0.5).holds([Double](repeating: 1, count: 7), .atMost(0)))
    }

    @Test func intervalsAreThoseOfTables() {
        let mean = Statistics.interval([1, 2, 3, 4])
        #expect((mean!.high - 2.5 - 3.182 * (5.0 / 3 / 4).squareRoot()).magnitude < 1e-3)
        #expect(Statistics.interval([1]) == nil)
        #expect((Statistics.quantile(freedom: 10) - 2.228).magnitude < 2e-3)
        #expect((Statistics.quantile(freedom: 49) - 2.010).magnitude < 2e-3)
        let share = Statistics.interval(8, of: 10)
        #expect((share.low - 0.490).magnitude < 1e-3 && (share.high - 0.943).magnitude < 1e-3)
        #expect((Statistics.probability(ofAtMost: 2, of: 5, share: 0.9) - 0.00856).magnitude < 1e-5)
    }
}
