import MRPEngine
import MRPOptions
import Testing

@testable import MRPLab

private func message(_ body: () throws -> Void) -> String? {
    do {
        try body()
        return nil
    } catch let error as MRPError {
        return error.message
    } catch { return "\(error)" }
}

@Suite struct OptionTests {
    @Test func defaultsAreValidAndReadBack() throws {
        var options = LabOptions()
        try options.validate()
        let table = OptionTable.laboratory
        try table.check()
        for option in LabOption.all.map(\.definition) {
            guard (try? options.text(option.key)) != nil else { continue }  // another experiment's
            try options.set(option.key, option.defaultValue)
            #expect(try options.text(option.key) == option.defaultValue)
        }
        #expect(options == LabOptions())
        #expect(table.definitions.allSatisfy { !$0.summary.isEmpty })
        for preset in table.presets { try LabOptions(preset: preset.name).validate() }
    }

    @Test func keysAndSymbolsAreTheSame() throws {
        var options = LabOptions()
        try options.set("C_p", "3")
        try options.set("patches", "30")
        try options.set("Gamma", "0.5")
        try options.set("gamma", "0.02")
        #expect(options.patchesPerFeature == 3)
        #expect(options.singleOther == 0.5)
        #expect(options.featureNoise == 0.02)
        #expect(try options.text("P") == "30")
        #expect(options.json["patches_per_feature"] == .integer(3))
    }

    @Test(arguments: [
        ("theta", "0", "theta 0 is outside (0.0, 1.0]"), ("theta", "1.2", "theta 1.2 is outside (0.0, 1.0]"),
        ("q", "1", "power (q) 1 is outside 2 ... 16"), ("mu", "-0.1", "single_fraction (mu) -0.1 is outside [0.0, 1.0]"),
        ("sigma_0", "nan", "initial_deviation (sigma_0) 'nan' is not a number"),
        ("k", "many", "classes (k) 'many' is not an integer"),
        ("masks", "some", "masks 'some' is not one of: averaged, sampled"),
        ("thetta", "0.5", "unknown laboratory option 'thetta': the nearest is 'theta'"),
    ])
    func aWrongValueIsNamed(key: String, text: String, expected: String) {
        var options = LabOptions()
        #expect(message { try options.set(key, text) } == expected)
        #expect(options == LabOptions())
    }

    @Test func valuesMustFitEachOther() {
        func with(_ change: (inout LabOptions) -> Void) -> String? {
            var options = LabOptions()
            change(&options)
            return message { try options.validate() }
        }
        #expect(with { $0.dimension = 19 } == "dimension (d) 19 is less than 2 k = 20, the number of features")
        #expect(with { $0.patches = 3 } == "patches (P) 3 is less than 2 C_p = 4, the patches of the label's two features")
        #expect(with { $0.presence = 11 } == "presence (s) 11.0 is above k = 10")
        #expect(with { $0.theta = 2 } == "theta 2.0 is outside (0.0, 1.0]")
        #expect(with { $0.noise = .nan } == "noise (sigma_p) 'nan' is not a number")
        #expect(with { $0.pretrainBatch = 301 } == "pretrain_batch 301 is above pretrain_samples (N_pre) 300")
        #expect(
            with {
                $0.kernelsPerClass = 10_000; $0.classes = 1_000; $0.dimension = 2_000
            }?.contains("K = k m") == true)
    }

    @Test func unknownPresetListsAll() {
        #expect(
            message { _ = try LabOptions(preset: "big") }
                == "unknown laboratory preset 'big': there are multiview, quick, hierarchical, patch_routing")
    }
}
