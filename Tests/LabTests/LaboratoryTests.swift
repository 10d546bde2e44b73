import MRPEngine
import Testing

@testable import MRPLab

@Suite struct LaboratoryTests {
    @Test func defaultRegime() throws {
        var options = LabOptions()
        options.seeds = 1
        let report = try Laboratory.run(options)
        print(report.table)
        print(report.seeds[0].seconds, report.seeds[0].pretraining.seconds, report.seeds[0].finetuning?.seconds ?? 0, report.seeds[0].supervised?.seconds ?? 0)
        #expect(report.claimsHold)
    }
}
