import CMRPKernels
import Glibc
import MRPEngine

func logarithm(_ count: Int) -> Double { log(Double(count)) }

/// Runs an experiment: `LabOptions.experiment` says which.
public enum Laboratory {
    /// Runs every seed and judges every claim.
    ///
    /// - Parameters:
    ///   - options: checked first; an option out of range is an error that names its symbol, value and limits.
    ///   - cancel: set to nonzero from any thread to stop.
    ///   - progress: called after every step on the calling thread; false stops.
    /// - Throws: `MRPError` (`argument`, `memory`, `unsupported`), or `LabCancelled`.
    public static func run(
        _ options: LabOptions, cancel: UnsafePointer<Int32>? = nil, progress: @escaping (LabProgress) -> Bool = { _ in true }
    ) throws -> LabReport {
        try options.validate()
        let start = monotonicSeconds()
        let compute = try LabCompute(options, cancel: cancel)
        let reporter = ProgressReporter(total: options.definition.cost(options) * Double(options.seeds), seeds: options.seeds, progress)
        var results: [SeedResult] = []
        var bytes: Int64 = 0
        for index in 0..<options.seeds {
            reporter.beginSeed(index)
            let run = try SeedRun(options, seed: options.firstSeed + index, compute: compute, reporter: reporter)
            results.append(try run.run())
            bytes = max(bytes, run.bytes)
        }
        return LabReport(
            options: options, seeds: results, instructions: compute.kernelName, threads: compute.threads, bytes: Int(bytes),
            seconds: monotonicSeconds() - start)
    }
}
